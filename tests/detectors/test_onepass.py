"""The one compiled pass says what each detector says alone, and a detector that stays out of it is served as well."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from detectors import server
from detectors.bank import Stage1
from detectors.catalog import CATALOG
from detectors.onepass import CHUNK, OnePass
from schemas.events import Batch
from schemas.records import Breach, FeatureRow, encode
from tests.detectors.test_laws import CONFIG, NAMES, log_of

ROOT = Path(__file__).resolve().parents[2]


def verdicts(log: Batch, size: int) -> list[Breach | FeatureRow]:
    engine = Stage1(CONFIG, log.topic, log.partition)
    edges = [*range(0, len(log), size), len(log)]
    return [v for a, b in pairwise(edges) for v in engine.step(log[a:b])]


class Apart(OnePass):
    """A pass in which no detector runs: the engine has each of them step by itself."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._on[:] = False
        self.places = [-1] * len(self.places)


@pytest.mark.parametrize("size", [7, 8 * CHUNK])
@pytest.mark.parametrize("name", NAMES)
def test_detectors_say_in_the_pass_what_they_say_alone(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = log_of(name)
    together = verdicts(log, size)
    assert [v for v in together if isinstance(v, Breach) and v.detector == name]
    monkeypatch.setattr(server, "OnePass", Apart)
    assert [encode(v) for v in verdicts(log, size)] == [encode(v) for v in together]


def _rejects() -> Any:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(blocks[0], scope)
    return scope["Rejects"]


def test_a_detector_outside_the_pass_is_run_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = log_of("malformed")
    before = [encode(v) for v in verdicts(log, 64) if isinstance(v, Breach)]
    rejects = _rejects()
    monkeypatch.setattr(server, "CATALOG", (lambda _: rejects(limit=4), *CATALOG))
    with_it = verdicts(log, 64)
    mine = [v for v in with_it if isinstance(v, Breach) and v.detector == "rejects"]
    others = [encode(v) for v in with_it if isinstance(v, Breach) and v.detector != "rejects"]
    assert [v.state for v in mine[:1]] == ["open"]
    assert others == before
    rows = [v for v in with_it if isinstance(v, FeatureRow)]
    assert max(row.scores["rejects"] for row in rows) >= 1.0
    assert [encode(v) for v in verdicts(log, 8 * CHUNK)] == [encode(v) for v in with_it]


def test_a_detector_left_out_of_the_catalogue_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log, _ = log_of("rate")
    monkeypatch.setattr(server, "CATALOG", tuple(make for make in CATALOG if make(CONFIG).name != "rate"))
    found = verdicts(log, 64)
    assert not [v for v in found if isinstance(v, Breach) and v.detector == "rate"]
    assert all("rate" not in v.scores for v in found if isinstance(v, FeatureRow))


def test_a_snapshot_of_an_idle_server_is_the_same_bytes_until_it_moves() -> None:
    log, _ = log_of("rate")
    engine = Stage1(CONFIG, log.topic, log.partition)
    engine.step(log[:600])
    first = engine.snapshot()
    assert engine.snapshot() == engine.snapshot() == first
    twin = Stage1.restore(CONFIG, engine.snapshot())
    engine.step(log[600:])
    assert engine.snapshot() != first
    twin.step(log[600:])
    assert twin.snapshot() == engine.snapshot()
