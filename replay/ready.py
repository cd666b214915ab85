"""All that a process of a replay needs, imported and loaded. The server that makes them imports it (``replay.forks``), so
that they begin with it; nobody else does."""

from detectors import warm
from replay import processes

__all__ = ["processes"]

warm.load()
