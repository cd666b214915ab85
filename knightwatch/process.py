"""A child process that cannot outlive us: own process group, killed by the kernel when its parent dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_DIE_WITH_PARENT: Final = """
import ctypes, os, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != parent:
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Child:
    """One running command.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends, so a keeper thread forks and then waits as long as the
    child lives. A small launcher sets the flag and becomes the command: no code of ours runs between fork and exec.
    """

    def __init__(
        self, command: Sequence[str], output: Path, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> None:
        """Start ``command``; stdout and stderr are appended to ``output``. Raises OSError."""
        self._command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        self._output = output
        self._env = dict(os.environ, **(env or {}))
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        started = threading.Event()
        threading.Thread(target=self._keep, args=(started,), name="child-keeper", daemon=True).start()
        try:
            started.wait()
        except BaseException:  # interrupted: nobody would hold what is being started
            started.wait()
            if self._process is not None:
                self.kill()
            raise
        if self._error is not None:
            raise self._error

    def _keep(self, started: threading.Event) -> None:
        try:
            with self._output.open("ab") as out:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env,
                    start_new_session=True, pass_fds=self._pass_fds,
                )  # fmt: skip
        except OSError as error:
            self._error = error
        started.set()
        if self._process is not None:
            self._process.wait()

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the constructor raises when the process did not start"
        return self._process

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while running; negative: the signal that ended it."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens when it is gone already."""
        if self.exit_code is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, timeout_s: float | None = None) -> bool:
        """True when it has ended within ``timeout_s``."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after ``grace_s`` or when we are interrupted meanwhile."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            ended = self.wait(grace_s)
        except BaseException:
            self.kill()
            raise
        if not ended:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the group, and reap."""
        self.signal(signal.SIGKILL)
        self.wait()
