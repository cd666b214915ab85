"""The parts of the FIX acceptor that need neither a session nor Kafka: conversion, journal, settings."""

import itertools
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fix_acceptor.convert import Converter
from producers.fix_acceptor.journal import Journal, JournalError
from producers.fix_acceptor.settings import AcceptorSettings, SessionSettings, load
from producers.importers.findings import BadLine, Findings
from producers.importers.lives import Lives, Routing
from schemas.codec import to_dicts
from schemas.records import DeadLetter

SETTINGS = AcceptorSettings(session=(SessionSettings("BROKER", "r1"), SessionSettings("OTHER", "r2", server_tag=50)))
Fields = dict[int, str]


def raw(number: int, kind: str, fields: Fields | None = None, sender: str = "BROKER") -> bytes:
    head = {35: kind, 34: str(number), 49: sender, 56: "KNIGHTWATCH", 52: "20261124-14:30:00.000", **(fields or {})}
    body = "".join(f"{tag}={value}\x01" for tag, value in head.items())
    text = f"8=FIX.4.4\x019={len(body)}\x01{body}"
    return f"{text}10={sum(text.encode()) % 256:03d}\x01".encode()


def order(id_: str) -> Fields:
    return {11: id_, 55: "ACME", 54: "1", 38: "100", 40: "2", 44: "10.5"}


def report(id_: str, kind: str, exec_id: str) -> Fields:
    return {11: id_, 55: "ACME", 54: "1", 37: "V", 17: exec_id, 150: kind, 39: "0", 32: "40", 31: "10.5"}


def session() -> list[bytes]:
    """Two counterparts, faults, a resend, and numbers that begin anew."""
    steps: list[tuple[str, str, Fields]] = [
        ("BROKER", "A", {}), ("BROKER", "D", order("C1")), ("OTHER", "D", {**order("C1"), 50: "desk7"}),
        ("BROKER", "8", report("C1", "0", "E1")), ("BROKER", "D", {**order("C2"), 54: "9"}),
        ("BROKER", "8", report("C1", "F", "E2")), ("OTHER", "8", report("C1", "F", "E1")),
        ("BROKER", "D", {**order("C3"), 55: "MUCH-TOO-LONG-A-SYMBOL"}), ("BROKER", "F", {11: "C9", 41: "C1"}),
        ("OTHER", "G", {11: "C5", 41: "C1", 38: "80", 44: "10.4"}), ("BROKER", "8", report("C1", "4", "E3")),
        ("BROKER", "8", report("C1", "F", "E4")), ("OTHER", "D", order("C7")),
    ]  # fmt: skip
    count = {"BROKER": itertools.count(1), "OTHER": itertools.count(1)}
    made = [raw(next(count[sender]), kind, fields, sender) for sender, kind, fields in steps]
    made.append(raw(2, "D", {**order("C1"), 43: "Y"}))
    return [*made, raw(1, "A"), raw(2, "D", order("D1")), raw(3, "8", report("D1", "0", "E9"))]


def converted(*parts: list[bytes]) -> tuple[bytes, list[DeadLetter], Findings]:
    """Of one converter after another, each begun with the state of the one before."""
    state, events, letters, findings = b"", [], [], Findings()
    for part in parts:
        converter = Converter(SETTINGS, findings, 1_000)
        if state:
            converter.restore(state)
        found = converter.convert(part)
        events.append(found.events)
        letters += found.letters
        state = converter.save()
    return np.concatenate(events).tobytes(), letters, findings


def test_what_becomes_of_each_message() -> None:
    findings = Findings()
    found = Converter(SETTINGS, findings, 1_000).convert(session())
    events = to_dicts(found.events)
    mine = [e for e in events if e["server"] == "r1"]
    kinds = "parent order ack fill cancel canceled parent_done parent order ack"
    assert " ".join(e["kind"] for e in mine) == kinds
    assert [e["seq"] for e in mine] == list(range(1_000, 1_010)), "nothing refused looks like a loss"
    assert [e["kind"] for e in events if e["server"] == "desk7"] == ["parent", "order", "fill", "replace"]
    assert [e["kind"] for e in events if e["server"] == "r2"] == ["parent", "order"], "without the tag: the session's"
    assert findings.left_out == {"session_message": 2, "resend": 1}
    assert findings.notes == {"sequence_began_anew": 1}
    broker = "FIX.4.4:KNIGHTWATCH->BROKER"
    assert [(x.key, x.offset, x.reason) for x in found.letters] == [
        (broker, 4, "unknown_word"),
        (broker, 9, "missing_field"),  # a fill of an order that is over
        (broker, 6, "oversized_field"),  # its parent, and itself
        (broker, 6, "oversized_field"),
    ]
    assert found.letters[0].detail == "found '9'; expected Side (54) 1, 2, 5, 6; correct the line or leave it out"
    assert b"MUCH-TOO-LONG" in b64decode(found.letters[2].payload)


def test_a_logon_ahead_of_what_was_taken_leaves_room_for_the_resend() -> None:
    """After a crash: the counterpart logs on with its next number, and then resends those that are missing."""
    late = {43: "Y", 122: "20261124-14:29:00.000"}
    findings = Findings()
    messages = [raw(1, "A"), raw(2, "D", order("C2")), raw(9, "A"), raw(2, "D", {**order("C2"), **late})]
    messages += [raw(3, "D", {**order("C3"), **late}), raw(10, "D", order("C4"))]
    found = Converter(SETTINGS, findings, 1).convert(messages)
    assert [e["cl_ord_id"] for e in to_dicts(found.events) if e["kind"] == "order"] == ["C2", "C3", "C4"]
    assert (findings.left_out["resend"], findings.notes) == (1, {})


@given(st.data())
def test_cutting_and_starting_again_change_nothing(data: st.DataObject) -> None:
    messages = session()
    whole = converted(messages)
    at = sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=4)))
    cuts = [0, *at, len(messages)]
    parts = [messages[a:b] for a, b in itertools.pairwise(cuts)]
    again = converted(*parts)
    assert again[0] == whole[0]
    assert sorted(map(repr, again[1])) == sorted(map(repr, whole[1]))
    assert again[2].document()["refused"] == whole[2].document()["refused"]


def test_a_session_that_is_not_known() -> None:
    found = Converter(SETTINGS, Findings(), 1).convert([raw(1, "D", order("C1"), "STRANGER")])
    assert [letter.reason for letter in found.letters] == ["unknown_session"]
    assert "FIX.4.4:KNIGHTWATCH->BROKER" in found.letters[0].detail


def test_where_orders_name_their_parents_none_is_made_up() -> None:
    settings = AcceptorSettings(session=(SessionSettings("BROKER", "r1", parent_tag=583),))
    messages = [raw(1, "D", {**order("C1"), 583: "P7"}), raw(2, "D", order("C2"))]
    events = to_dicts(Converter(settings, Findings(), 1).convert(messages).events)
    assert [(e["kind"], e.get("parent_id")) for e in events] == [("order", "P7"), ("order", None)]


def test_orders_longest_known_are_forgotten_first() -> None:
    lives = Lives(Routing(parents=False), names_max=2)
    for id_ in ("C1", "C2", "C3"):
        list(lives.sent(1, id_, "ACME", "B", 1, 1.0))
    assert [life.cl_ord_id for life in lives.open()] == ["C2", "C3"]
    with pytest.raises(BadLine, match="C1"):
        lives.find("C1", "a report")


@given(cut=st.integers(0, 60), later=st.binary(max_size=20))
def test_a_journal_cut_anywhere_keeps_every_whole_message(
    tmp_path_factory: pytest.TempPathFactory, cut: int, later: bytes
) -> None:
    folder = tmp_path_factory.mktemp("store")
    sent = [b"one", b"", b"three" * 5]
    journal = Journal(folder)
    assert journal.restore() == (None, [])
    journal.begin(b'{"a":1}')
    for message in sent:
        journal.append(message)
    journal.confirm(2)
    journal.close()
    path = folder / "journal-1"
    path.write_bytes(path.read_bytes()[:cut])
    whole = [m for i, m in enumerate(sent) if sum(len(x) + 4 for x in sent[: i + 1]) <= cut]

    again = Journal(folder)
    assert again.restore() == (b'{"a":1}', whole)
    assert again.confirmed == min(2, len(whole))
    again.append(later)
    again.close()

    third = Journal(folder)
    assert third.restore() == (b'{"a":1}', [*whole, later])
    third.begin(b"{}")
    assert (third.count, third.confirmed) == (0, 0)
    third.close()
    assert {p.name for p in folder.iterdir()} == {"confirmed", "journal-2", "lock", "state.json"}
    fourth = Journal(folder)
    assert fourth.restore() == (b"{}", [])
    assert fourth.confirmed == 0, "the mark of another journal says nothing of this one"
    fourth.close()


def test_a_folder_is_one_acceptors_and_a_broken_state_is_said(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    with pytest.raises(JournalError, match="another acceptor"):
        Journal(tmp_path)
    first.close()
    (tmp_path / "state.json").write_text("{")
    second = Journal(tmp_path)
    with pytest.raises(JournalError, match=r"state\.json: found"):
        second.restore()
    second.close()


def test_settings_from_a_file_and_over_it_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "fix.toml"
    path.write_text(
        'port = 7001\nstore = "here"\n[quickfix]\nMaxLatency = "30"\n[[session]]\nsender = "BROKER"\nserver = "r1"\n'
        'version = "FIX.4.2"\nserver_tag = 115\n[session.quickfix]\nStartTime = "00:00:00"\nEndTime = "00:00:00"\n'
    )
    made = load(path, ["OTHER=r2"], "FIX.4.4", port=7002, store=None, comp_id=None)
    assert (made.port, made.store, made.comp_id, made.quickfix) == (7002, "here", "KNIGHTWATCH", {"MaxLatency": "30"})
    assert [(s.sender, s.server, s.version) for s in made.session] == [
        ("BROKER", "r1", "FIX.4.2"),
        ("OTHER", "r2", "FIX.4.4"),
    ]


@pytest.mark.parametrize(
    ("text", "sessions", "expected"),
    [
        ("", [], "found no session"),
        ("", ["BROKER"], "expected SENDER=SERVER"),
        ("port = 0", ["B=r1"], "port"),
        ("", ["B=a-router-with-a-long-name"], "server"),
        ("colour = 1", ["B=r1"], "colour"),
        ("", ["B=r1", "B=r2"], "twice"),
        ('[quickfix]\nFileStorePath = "x"', ["B=r1"], "FileStorePath"),
        ("port =", ["B=r1"], "TOML"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, sessions: list[str], expected: str) -> None:
    path = tmp_path / "fix.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=expected):
        load(path, sessions, "FIX.4.4")
