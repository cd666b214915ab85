"""All that a process of a replay needs, imported and loaded. The server that makes them imports it (``replay.forks``), so
that they begin with it; nobody else does."""

import atexit
import os

from detectors import warm
from replay import forks, processes

__all__ = ["processes"]

warm.load()
if forks.SERVER in os.environ:
    # it has nothing to write, and to take all this apart takes a third of a second, for which it would keep the pipe open
    # that its parent's output goes to
    atexit.register(os._exit, 0)
