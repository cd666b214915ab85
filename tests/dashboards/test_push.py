"""Push, against a stub of Grafana's documented API: everything arrives, twice is once, refusals are explained."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards import alerts, boards
from dashboards.panels import DATASOURCE_UID
from dashboards.push import FROM_FILE, Grafana, PushError, covers, push

from .grafana_stub import ADMIN, VIEWER, Stub, serve

PROMETHEUS = "http://prometheus:9090"


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def url(stub: Stub) -> Iterator[str]:
    with serve(stub) as address:
        yield address


def tally(done: list) -> Counter:  # type: ignore[type-arg]
    return Counter((one.kind, one.did) for one in done)


def test_everything_arrives(stub: Stub, url: str) -> None:
    done = push(Grafana(url, ADMIN), PROMETHEUS)
    assert tally(done) == {
        ("folder", "created"): 1,
        ("data source", "created"): 1,
        ("board", "created"): 5,
        ("rule", "created"): len(alerts.ALL),
    }
    assert set(stub.boards) == {b.json()["uid"] for b in boards.ALL}
    assert all(b["meta"]["folderUid"] == "knightwatch" for b in stub.boards.values())
    assert stub.datasources[DATASOURCE_UID]["url"] == PROMETHEUS
    assert set(stub.rules) == {a.uid for a in alerts.ALL}
    assert stub.intervals == dict.fromkeys(("knightwatch-runaway", "knightwatch-blind", "knightwatch-drift"), 10)
    assert all(r["provenance"] == "" for r in stub.rules.values()), "people may still edit and silence our rules"


def test_no_numeric_data_source_id_is_used(stub: Stub, url: str) -> None:
    """Grafana 13 has switched them off."""
    push(Grafana(url, ADMIN), PROMETHEUS)
    push(Grafana(url, ADMIN), "http://elsewhere:9090")
    paths = {path for _, path in stub.calls if path.startswith("/datasources")}
    assert paths == {"/datasources", f"/datasources/uid/{DATASOURCE_UID}"}


def test_pushing_twice_changes_nothing(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS)
    stub.calls.clear()
    assert {one.did for one in push(Grafana(url, ADMIN), PROMETHEUS)} == {"unchanged"}
    assert {method for method, _ in stub.calls} == {"GET"}


def test_only_what_differs_is_updated(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS)
    stub.boards["kw-halts"]["dashboard"]["title"] = "edited by hand"
    stub.rules["kw-node-drift"]["for"] = "99s"
    stub.rules["kw-old"] = {**stub.rules["kw-node-drift"], "uid": "kw-old"}
    done = push(Grafana(url, ADMIN), "http://elsewhere:9090")
    assert [(one.kind, one.name) for one in done if one.did == "updated"] == [
        ("data source", "Knightwatch"),
        ("board", "Knightwatch 3 · Halts"),
        ("rule", "KnightwatchNodeDrift"),
    ]
    assert stub.boards["kw-halts"]["dashboard"]["version"] == 2
    assert "kw-old" not in stub.rules, "a rule that the code dropped goes from its group"
    assert {one.did for one in push(Grafana(url, ADMIN), "http://elsewhere:9090")} == {"unchanged"}


def test_a_rule_that_another_client_locked_is_updated_all_the_same(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS)
    stub.rules["kw-node-drift"] |= {"for": "99s", "provenance": "api"}
    assert ("rule", "updated") in tally(push(Grafana(url, ADMIN), PROMETHEUS))
    assert stub.rules["kw-node-drift"]["for"] == "15s"


def test_what_is_provisioned_from_files_is_left(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS)
    stub.datasources[DATASOURCE_UID] |= {"readOnly": True, "url": "http://other"}
    stub.boards["kw-fleet"]["meta"]["provisioned"] = True
    for rule in stub.rules.values():
        rule |= {"provenance": "file", "for": "1h"}
    done = push(Grafana(url, ADMIN), PROMETHEUS)
    assert Counter(one.did for one in done)[FROM_FILE] == 2 + len(alerts.ALL)


def test_without_the_data_source(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS, datasource=False)
    assert not stub.datasources


def test_below_a_sub_path() -> None:
    stub = Stub(prefix="/grafana")
    with serve(stub) as address:
        push(Grafana(address + "/", ADMIN), PROMETHEUS)
    assert len(stub.boards) == 5


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(url: str, token: str = ADMIN) -> PushError:
    with pytest.raises(PushError) as caught:
        push(Grafana(url, token), PROMETHEUS)
    return caught.value


def test_401_says_how_to_get_a_token(url: str) -> None:
    error = refusal(url, "glsa_s3cret")
    assert error.status == 401
    assert "Service accounts" in error.advice
    assert "GRAFANA_TOKEN" in error.advice
    assert "glsa_s3cret" not in str(error), "the token itself is never printed"


def test_403_says_which_role(url: str) -> None:
    error = refusal(url, VIEWER)
    assert error.status == 403
    assert "Editor" in error.advice
    assert "--no-datasource" in error.advice


def test_409_a_data_source_of_that_name_under_another_uid(stub: Stub, url: str) -> None:
    stub.datasources["mine"] = {"name": "Knightwatch", "uid": "mine"}
    error = refusal(url)
    assert error.status == 409
    assert error.doing == "make the data source"
    assert "rename or delete" in error.advice


def test_409_a_folder_of_that_name(stub: Stub, url: str) -> None:
    stub.folders["mine"] = {"title": "Knightwatch", "uid": "mine"}
    assert refusal(url).doing == "make the folder"


def test_412_name_exists_and_force(stub: Stub, url: str) -> None:
    push(Grafana(url, ADMIN), PROMETHEUS)
    stub.boards["other"] = {"dashboard": {"title": boards.ALL[0].title, "uid": "other", "version": 3}, "meta": {}}
    del stub.boards["kw-fleet"]
    error = refusal(url)
    assert error.status == 412
    assert "--force" in error.advice
    assert "same name" in error.said
    done = push(Grafana(url, ADMIN), PROMETHEUS, force=True)
    assert ("board", "created") in tally(done)


def test_412_changed_while_we_looked(stub: Stub, url: str) -> None:
    grafana = Grafana(url, ADMIN)
    push(grafana, PROMETHEUS)
    wanted = {**boards.ALL[0].json(), "description": "new"}

    class Racing(dict):  # type: ignore[type-arg]
        """The board is saved by somebody else between our look and our save."""

        def get(self, uid: str, default: object = None) -> object:
            found = super().get(uid, default)
            answer = json.loads(json.dumps(found))
            if found:
                found["dashboard"]["version"] += 1
            return answer

    stub.boards = Racing(stub.boards)
    with pytest.raises(PushError, match="changed by someone else") as caught:
        grafana.board(wanted)
    assert caught.value.status == 412


@pytest.mark.parametrize(
    ("path", "status", "advice"),
    [
        ("/v1/provisioning/alert-rules", 404, "unified alerting is on"),
        ("/datasources", 422, "does not accept a field"),
        ("/dashboards", 429, "wait a moment"),
        ("/dashboards", 500, "Grafana's own trouble"),
        ("/folders", 503, "Grafana's own trouble"),
    ],
)
def test_other_refusals_have_advice(stub: Stub, url: str, path: str, status: int, advice: str) -> None:
    body = [{"classification": "RequiredError"}] if status == 422 else {"message": "no"}
    stub.refuse[path] = (status, body)
    error = refusal(url)
    assert error.status == status
    assert advice in error.advice


def test_nobody_there() -> None:
    error = refusal("http://127.0.0.1:9")
    assert error.status == 0
    assert "no Grafana answers at http://127.0.0.1:9" in str(error)


def test_something_else_answers(tmp_path: Path) -> None:
    """A web server that is no Grafana: HTML where JSON is expected."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout
        port = server.stdout.readline().split("port ")[1].split(" ")[0]
        assert refusal(f"http://127.0.0.1:{port}").status in (404, 501)
    finally:
        server.terminate()
        server.wait(timeout=10)


def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"expected http\[s\]://host"):
        Grafana("grafana:3000", ADMIN)


@pytest.mark.parametrize(
    ("wanted", "there", "yes"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2, "d": 3}]}}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": 1}, {}, False),
        ({"a": None}, {}, False),
        ([1], "1", False),
    ],
)
def test_covers(wanted: object, there: object, yes: bool) -> None:
    assert covers(wanted, there) is yes


# --- the command ------------------------------------------------------------------------------------------------------


def command(*words: str, token: str | None = ADMIN) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "GRAFANA_TOKEN"}
    if token:
        environment["GRAFANA_TOKEN"] = token
    line = [sys.executable, "-c", "from knightwatch.cli import main; main()", "dashboards", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)


def test_push_command(stub: Stub, url: str) -> None:
    done = command("push", "--url", url, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["done"]) == 7 + len(alerts.ALL)
    assert len(stub.boards) == 5
    refused = command("push", "--url", url, "--json", token="wrong")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "refused" not in refused.stderr
    assert "Service accounts" in refused.stderr
    assert command("push", "--url", url, token=None).returncode == 2


def test_build_and_check_commands(tmp_path: Path) -> None:
    done = command("build", "--out", str(tmp_path), "--desk-url", "https://desk.example", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["changed"]) == json.loads(done.stdout)["files"]
    assert "https://desk.example" in (tmp_path / "generated/fleet.json").read_text(encoding="utf-8")
    checked = command("check", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["ok"] is True
    lost = command("check", "--prometheus", "http://127.0.0.1:9", "--json")
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "no Prometheus answers" in lost.stderr
