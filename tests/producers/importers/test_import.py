"""Small files in each format, made here: what becomes of every line, and what is said of those that are refused."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from knightwatch.cli import app

LOBSTER = "34200.1,1,11,100,100000,1\n34200.2,4,11,40,100000,1\n34200.3,2,11,20,100000,1\n34200.4,3,11,40,100000,1\n"
BOOK = "100100,5,99900,5\n" * 4
BITSTAMP = (
    "id,timestamp,exchange_timestamp,price,volume,action,direction\n"
    "1,0,1777689531000,50.0,9.0,created,bid\n"
    "7,0,1777689531500,100.0,2.0,created,ask\n"
    "7,0,1777689531600,100.0,0.5,changed,ask\n"
    "7,0,1777689531700,100.0,0.5,deleted,ask\n"
    "8,0,1777689531800,oops,1,created,bid\n"
    "9,0,1777689531900,10.0,1.0,created,bid\n"
    "1,0,1777689532000,50.0,9.0,deleted,bid\n"
)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app(["import"]), ["import", *arguments])
    return done.exit_code, done.output + str(done.exception or "")


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def shape(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(e["kind"], e.get("qty", 0)) for e in found]


def test_lobster(tmp_path: Path) -> None:
    name = "ACME_2012-06-21_34200000_57600000_{}_1.csv"
    (tmp_path / name.format("message")).write_text(LOBSTER)
    (tmp_path / name.format("orderbook")).write_text(BOOK)
    out = tmp_path / "day.ndjson"
    code, said = run("lobster", str(tmp_path / name.format("message")), "--out", str(out), "--json")
    assert code == 0, said
    found = events(out)
    assert shape(found)[:5] == [("parent", 100), ("order", 100), ("ack", 100), ("fill", 40), ("replace", 80)]
    assert [e["kind"] for e in found[5:]] == ["replaced", "cancel", "canceled", "parent_done"]
    assert len({e["server"] for e in found}) == 1, "an order's whole life stays on one router"
    assert [e["seq"] for e in found] == list(range(1, len(found) + 1))
    assert (found[3]["px"], found[3]["bid"], found[3]["ask"]) == (10.0, 9.99, 10.01)


def test_lobster_refuses_a_short_book_and_leaves_nothing(tmp_path: Path) -> None:
    name = "ACME_2012-06-21_34200000_57600000_{}_1.csv"
    (tmp_path / name.format("message")).write_text(LOBSTER)
    (tmp_path / name.format("orderbook")).write_text(BOOK[:17])
    code, said = run("lobster", str(tmp_path / name.format("message")), "--out", str(tmp_path / "day.ndjson"))
    assert code != 0
    assert "ends before line 2" in said
    assert {p.suffix for p in tmp_path.iterdir()} == {".csv"}


def test_bitstamp_leaves_out_the_collectors_book_and_explains_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(BITSTAMP)
    out = tmp_path / "btc.ndjson"
    code, said = run("bitstamp", str(tmp_path / "orders.csv"), "--out", str(out), "--lot", "0.5", "--json")
    assert code == 0, said
    account = json.loads((tmp_path / "btc.ndjson.import.json").read_text())
    assert account["left_out"] == {"closing_deletes": 1, "opening_book": 1}
    assert [(r["line"], r["reason"]) for r in account["refused_first"]] == [(6, "wrong_type")]
    mine = [e for e in events(out) if e.get("cl_ord_id") == "7" or e.get("orig_cl_ord_id") == "7"]
    assert shape(mine)[:3] == [("order", 4), ("ack", 4), ("fill", 3)]
    assert mine[-1]["kind"] == "canceled"


def test_a_bad_line_can_end_the_import(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(BITSTAMP)
    out = tmp_path / "btc.parquet"
    code, said = run("bitstamp", str(tmp_path / "orders.csv"), "--out", str(out), "--stop-on-bad-line")
    assert code != 0
    assert "line 6" in said
    assert not out.exists()
    assert not list(tmp_path.glob(".*partial"))


def fix(number: int, kind: str, *fields: tuple[int, str]) -> str:
    body = f"35={kind}|34={number}|49=A|56=B|52=20120801-13:30:0{number}.000|"
    body += "".join(f"{tag}={value}|" for tag, value in fields)
    head = f"8=FIX.4.4|9={len(body)}|"
    return f"{head}{body}10={sum((head + body).replace('|', chr(1)).encode()) % 256:03d}|\n"


def drop_copy() -> list[str]:
    new = ((11, "C1"), (55, "ACME"), (54, "1"), (38, "100"), (40, "2"), (44, "10.5"), (1, "A1"))
    report = ((37, "V1"), (11, "C1"), (55, "ACME"), (54, "1"))
    return [
        fix(1, "D", *new),
        fix(2, "8", *report, (17, "E1"), (150, "0"), (39, "0")),
        fix(3, "8", *report, (17, "E2"), (150, "F"), (39, "1"), (32, "60"), (31, "10.5")),
        fix(4, "F", (11, "C2"), (41, "C1"), (55, "ACME"), (54, "1")),
        fix(5, "8", (37, "V1"), (11, "C2"), (41, "C1"), (17, "E3"), (150, "4"), (39, "4"), (55, "ACME"), (54, "1")),
    ]


def test_fix_drop_copy(tmp_path: Path) -> None:
    (tmp_path / "copy.log").write_text("".join(drop_copy()))
    out = tmp_path / "copy.ndjson"
    code, said = run("fix", str(tmp_path / "copy.log"), "--out", str(out), "--server-tag", "49", "--json")
    assert code == 0, said
    found = events(out)
    kinds = ["parent", "order", "ack", "fill", "cancel", "canceled", "parent_done"]
    assert [e["kind"] for e in found] == kinds
    assert {e["server"] for e in found} == {"A"}
    assert (found[3]["qty"], found[3]["px"], found[3]["exec_id"]) == (60, 10.5, "E2")
    assert found[5]["qty"] == 40


def test_fix_with_a_bad_checksum_and_a_number_that_is_missing(tmp_path: Path) -> None:
    lines = drop_copy()
    lines[1] = lines[1].replace("|37=V1|", "|37=V2|")
    del lines[3]
    (tmp_path / "copy.log").write_text("".join(lines))
    command = ("fix", str(tmp_path / "copy.log"), "--out", str(tmp_path / "copy.ndjson"), "--json")
    code, said = run(*command)
    assert code == 1
    assert "2 missing" in said
    assert "line 3: found MsgSeqNum (34) 3; expected 2" in said
    assert {p.name for p in tmp_path.iterdir()} == {"copy.log"}, "nothing is left that looks whole"
    code, said = run(*command, "--allow-gaps")
    assert code == 0, said
    account = json.loads(said)
    assert account["refused"]["bad_checksum"] == 1
    assert account["refused_first"][0]["line"] == 2
    assert account["refused"]["gap"] == 2, "the broken message, and the one that was cut out"


def test_fix_gap_filled_by_a_resend_and_gap_before_the_numbers_began_anew(tmp_path: Path) -> None:
    lines = drop_copy()
    late = lines.pop(1).replace("35=8|34=2|", "35=8|34=2|43=Y|")
    body = late.split("|", 2)[2].rpartition("10=")[0]
    head = f"8=FIX.4.4|9={len(body)}|"
    late = f"{head}{body}10={sum((head + body).replace('|', chr(1)).encode()) % 256:03d}|\n"
    path, out = tmp_path / "copy.log", tmp_path / "copy.ndjson"
    path.write_text("".join([lines[0], lines[1], late, *lines[2:]]))
    code, said = run("fix", str(path), "--out", str(out), "--json")
    assert code == 0, said
    logon = fix(1, "A", (98, "0"), (108, "30"), (141, "Y"))
    path.write_text("".join([lines[0], lines[1], logon]))
    code, said = run("fix", str(path), "--out", str(tmp_path / "other.ndjson"))
    assert code == 1
    assert "1 missing" in said, "a new day does not make the old one whole"


def test_fix_reports_alone_tell_of_a_replace_that_was_never_shown(tmp_path: Path) -> None:
    common = ((55, "ACME"), (54, "1"), (37, "V1"))
    reports = [
        fix(1, "8", (11, "C1"), *common, (17, "E1"), (150, "0"), (39, "0"), (38, "100"), (44, "10.5")),
        fix(2, "8", (11, "C2"), (41, "C1"), *common, (17, "E2"), (150, "5"), (39, "0"), (38, "80"), (44, "10.4")),
        fix(3, "8", (11, "C2"), *common, (17, "E3"), (150, "F"), (39, "2"), (32, "80"), (31, "10.4")),
    ]
    (tmp_path / "copy.log").write_text("".join(reports))
    out = tmp_path / "copy.ndjson"
    code, said = run("fix", str(tmp_path / "copy.log"), "--out", str(out), "--json")
    assert code == 0, said
    assert [e["kind"] for e in events(out)] == ["parent", "order", "ack", "replace", "replaced", "fill", "parent_done"]
    assert events(out)[4]["qty"] == 80
    assert json.loads(said)["notes"] == {"order_made_up_from_report": 1, "replace_made_up_from_report": 1}


def test_csv_by_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "when,what,id,sym,bs,n,limit\n2026-05-02T10:00:00Z,NEW,O1,ACME,B,100,10.5\n2026-05-02T10:00:01Z,WHAT,O2,ACME,B,1,1\n"
    )
    (tmp_path / "map.toml").write_text(
        '[columns]\nts = "when"\nkind = "what"\ncl_ord_id = "id"\nsymbol = "sym"\nside = "bs"\nqty = "n"\npx = "limit"\n'
        '[words.kind]\nNEW = "order"\n'
    )
    out = tmp_path / "mine.parquet"
    code, said = run(
        "csv", str(tmp_path / "mine.csv"), "--mapping", str(tmp_path / "map.toml"), "--out", str(out), "--json"
    )
    assert code == 0, said
    account = json.loads(said)
    assert (account["events"], account["refused"]) == (1, {"unknown_word": 1})
    assert "add it to the mapping" in account["refused_first"][0]["text"]


def test_an_unknown_format_and_a_field_that_is_none(tmp_path: Path) -> None:
    assert "expected lobster, bitstamp, fix or csv" in run("excel", "x", "--out", "x.parquet")[1]
    (tmp_path / "a.csv").write_text("a\n1\n")
    code, said = run("csv", str(tmp_path / "a.csv"), "--map", "colour=a", "--out", str(tmp_path / "a.parquet"))
    assert code != 0
    assert "names the field 'colour'" in said
