"""Floors: the bare loops of ``floor_loop``."""

import sys
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.peers.side import Prepared, Work


class FloorSide:
    """client: aiokafka or kafka-python."""

    floor: bool = True

    def __init__(self, client: str, prefix_max: int | None = None) -> None:
        self.name = f"floor_{client.replace('-', '_')}"
        self.prefix_max = prefix_max
        self._client = client

    def prepare(self) -> Prepared:
        """Nothing to set up."""
        return Prepared({self._client: version(self._client)}, {"work": "records counted by key, nothing decoded"})

    def command(self, work: Work) -> Sequence[str]:
        """python -m benchmarks.peers.floor_loop ..."""
        return [sys.executable, "-m", "benchmarks.peers.floor_loop", self._client, *work.arguments()]
