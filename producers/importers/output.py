"""Accepted events to a file that appears whole or not at all, numbered per server, with the account of the import
beside."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from producers.event_files import open_lines, open_parquet
from producers.importers.findings import Findings, ImportStopped, Where
from producers.importers.lives import Event
from schemas.codec import encode_json_each, from_dicts_tolerant

CHUNK_EVENTS: Final = 50_000
ENDINGS: Final = (".parquet", ".ndjson", ".ndjson.gz")


class EventFile:
    """The LOG of an import. Under ``.NAME.partial`` until ``finish``; what an exception leaves behind is taken away.

    Every event keeps the codec's rules: what does not is refused with its line. Accepted ones get ``seq`` 1, 2, ... per
    server, so that nothing refused looks like a loss. ValueError for another ending.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        if not path.name.endswith(ENDINGS):
            raise ValueError(f"{path}: found no known ending; expected {' or '.join(ENDINGS)}")
        self._path, self._findings = path, findings
        self._partial = path.with_name(f".{path.name}.partial")
        self._waiting: list[Event] = []
        self._places: list[Where] = []
        self._seqs: dict[bytes, int] = {}
        self._sink: Any = None

    def __enter__(self) -> Self:
        self._sink = _Parquet(self._partial) if self._path.suffix == ".parquet" else _Ndjson(self._partial, self._path)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sink.close()
        self._partial.unlink(missing_ok=True)

    def add(self, where: Where, events: Iterable[Event]) -> None:
        """Events that the line at ``where`` gave, in order."""
        for event in events:
            self._waiting.append(event)
            self._places.append(where)
        if len(self._waiting) >= CHUNK_EVENTS:
            self._flush()

    def finish(self, source: dict[str, Any]) -> dict[str, Any]:
        """Put the file in its place, with ``NAME.import.json`` beside; gives that document. ImportStopped if it is
        empty."""
        self._flush()
        if not self._findings.events:
            first = self._findings.first[0] if self._findings.first else None
            why = f"; the first refused: {first.where}: {first.sentence}" if first else ""
            raise ImportStopped(f"no event in {self._findings.lines} lines; check the format and the files{why}")
        self._sink.close()
        document = {**source, "servers": len(self._seqs), **self._findings.document()}
        beside = self._path.with_name(f"{self._path.name}.import.json")
        beside.write_text(json.dumps(document, indent=1) + "\n")
        os.replace(self._partial, self._path)
        return document

    def _flush(self) -> None:
        events, refused = from_dicts_tolerant(self._waiting)
        for refusal in refused:
            self._findings.refuse(
                self._places[refusal.item], refusal.reason.value, f"{refusal.detail}; correct the line"
            )
        self._number(events)
        if len(events):
            self._sink.write(events)
        self._findings.events += len(events)
        self._waiting.clear()
        self._places.clear()

    def _number(self, events: NDArray[Any]) -> None:
        for server in np.unique(events["server"]).tolist():
            mine = np.flatnonzero(events["server"] == server)
            first = self._seqs.get(server, 0) + 1
            events["seq"][mine] = np.arange(first, first + len(mine))
            self._seqs[server] = first + len(mine) - 1


class _Ndjson:
    """Lines of JSON, gzip where the final name says so. EventFile closes it."""

    def __init__(self, partial: Path, path: Path) -> None:
        self._out = open_lines(partial, zipped=path.name.endswith(".gz"))

    def write(self, events: NDArray[Any]) -> None:
        self._out.writelines(line + b"\n" for line in encode_json_each(events))

    def close(self) -> None:
        self._out.close()


class _Parquet:
    """Row groups of at least CHUNK_EVENTS events (the last may be shorter). EventFile closes it."""

    def __init__(self, partial: Path) -> None:
        self._out = open_parquet(partial)

    def write(self, events: NDArray[Any]) -> None:
        from schemas.arrow import to_arrow

        self._out.write_batch(to_arrow(events))

    def close(self) -> None:
        self._out.close()
