"""What ``python -m detectors.warm`` compiles is what a worker needs: nothing is left for its first batches."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors import warm as warming
from detectors.bank import Stage1
from detectors.config import Stage1Config
from detectors.warm import MARK, load, warm
from producers import scenarios
from schemas import codec
from schemas.events import EVENT


def loops() -> Iterator[Any]:
    """Every compiled loop of ours that is loaded."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("schemas", "detectors", "halts"):
            for value in list(vars(module).values()):
                if hasattr(value, "py_func") and hasattr(value, "signatures"):
                    yield value


def test_a_day_compiles_nothing_after_warming() -> None:
    assert warm() > 0
    before = {loop.py_func: len(loop.signatures) for loop in loops()}
    assert sum(map(bool, before.values())) > 10
    for name, slices in (("power-peg", 3), ("calm", 400)):
        chunks = [chunk.events for chunk in islice(scenarios.build(name, 1, minutes=1), slices)]
        events = np.concatenate(chunks, dtype=EVENT)
        values = codec.encode_sbe_each(events[events["server"] == events["server"][0]])
        engine = Stage1(Stage1Config(), "orderflow", 0)
        engine.step(codec.decode("orderflow", 0, values, range(len(values))).batch)
        engine = Stage1.restore(Stage1Config(), engine.snapshot())
    (server,) = engine.servers.values()
    assert server.novelty.model.updates > 30
    after = {loop.py_func: len(loop.signatures) for loop in loops()}
    fresh = [f"{key.__module__}.{key.__name__}" for key, count in after.items() if before.get(key, 0) != count]
    assert fresh == [], "add what they need to detectors/warm.py"


def test_only_what_was_compiled_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "BUILD", tmp_path)
    assert not load()
    (tmp_path / MARK).touch()
    assert load()
