"""Scenarios to files: NDJSON (plain or gzip) or Parquet, with the labels beside. Written under a temporary name and
renamed when whole, so that an interrupted run leaves nothing half-written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from producers.event_files import open_lines, open_parquet
from producers.labels import Labels
from producers.labels import encode as encode_labels
from producers.scenarios import Scenario
from schemas.codec import encode_json_each
from schemas.records import encode

Progress = Callable[[int, float], None]
"""Told now and then: events so far, share of the scenario done (0 to 1)."""


def write(scenario: Scenario, path: Path, progress: Progress = lambda events, share: None) -> Labels:
    """Simulate with the gate always open into ``path``; the labels go to ``PATH.labels.json``.

    The ending chooses the format: .ndjson, .ndjson.gz (each line a section 3 event, or a bare ``nodes`` or ``declared``
    record, which has no ``kind``) or .parquet (events; what nodes run and ought to goes to ``PATH.nodes.ndjson``, where
    replay looks for it). ValueError for another ending, OSError from the file.
    """
    name = path.name
    if name.endswith((".ndjson", ".ndjson.gz")):
        writer: Callable[[Scenario, Path, Progress], Labels] = _ndjson
    elif name.endswith(".parquet"):
        writer = _parquet
    else:
        raise ValueError(f"{path}: found no known ending; expected .ndjson, .ndjson.gz or .parquet")
    partial, beside = path.with_name(f".{name}.partial"), path.with_name(f"{name}.labels.json")
    try:
        labels = writer(scenario, partial, progress)
        beside.write_bytes(encode_labels(labels) + b"\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return labels


def _ndjson(scenario: Scenario, path: Path, progress: Progress) -> Labels:
    simulation = scenario.simulate()
    with open_lines(path, zipped=_is_zipped(path)) as out:
        for chunk in simulation.run():
            for record in chunk.control:
                out.write(encode(record) + b"\n")
            out.writelines(line + b"\n" for line in encode_json_each(chunk.events))
            progress(simulation.events, _share(scenario, chunk.end_ns))
    return scenario.labels(simulation)


def _is_zipped(path: Path) -> bool:
    """Is the (partial) name that of a gzip file?"""
    return path.name.removesuffix(".partial").endswith(".gz")


def _parquet(scenario: Scenario, path: Path, progress: Progress) -> Labels:
    import numpy as np

    simulation = scenario.simulate()
    waiting: list[Any] = []
    held = 0
    control: list[bytes] = []
    with open_parquet(path) as out:
        from schemas.arrow import to_arrow  # needs pyarrow: said above, if it is missing

        for chunk in simulation.run():
            waiting.append(chunk.events)
            held += len(chunk.events)
            control += [encode(record) + b"\n" for record in chunk.control]
            if held >= 250_000:
                out.write_batch(to_arrow(np.concatenate(waiting)))
                waiting, held = [], 0
            progress(simulation.events, _share(scenario, chunk.end_ns))
        if held:
            out.write_batch(to_arrow(np.concatenate(waiting)))
    beside = path.with_name(path.name.removeprefix(".").removesuffix(".partial") + ".nodes.ndjson")
    beside.write_bytes(b"".join(control))
    return scenario.labels(simulation)


def _share(scenario: Scenario, now_ns: int) -> float:
    return (now_ns - scenario.start_ns) / max(scenario.end_ns - scenario.start_ns, 1)
