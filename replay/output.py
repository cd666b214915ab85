"""What a run said, as files: the same bytes as on the topics, a line a record."""

from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from replay.desk_like import DeskOutputLike
from replay.runner import Observers
from schemas.records import Ack, Breach, Command, FeatureRow, Verdict, encode
from schemas.topics import AUDIT, HALTS, VERDICTS, Topic

FILES = (VERDICTS, HALTS, AUDIT)


class OutputFiles:
    """``verdicts.ndjson`` (of stage 1), ``halts.ndjson`` and ``audit.ndjson`` in a folder. A context: the files appear
    under their names when the run is over, and not at all if it fails."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._files: dict[Topic, IO[bytes]] = {}

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        for topic in FILES:
            self._files[topic] = self._stack.enter_context(self._path(topic, ".partial").open("wb"))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stack.close()
        for topic in FILES:
            partial = self._path(topic, ".partial")
            if kind is None:
                partial.replace(self._path(topic, ""))
            else:
                partial.unlink(missing_ok=True)

    def _path(self, topic: Topic, suffix: str) -> Path:
        return self._directory / f"{topic.name}.ndjson{suffix}"

    def observers(self, events: Observers) -> Observers:
        """Observers that write, and report progress as those given do."""
        return Observers(events=events.events, input=self._input, output=self._output)

    def _input(self, record: Verdict | Ack | Command) -> None:
        if isinstance(record, Breach | FeatureRow):
            self._files[VERDICTS].write(encode(record) + b"\n")

    def _output(self, output: DeskOutputLike) -> None:
        self._files[output.topic].write(encode(output.record) + b"\n")
