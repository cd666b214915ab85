"""Processes under watch: how much CPU they took, how much memory at most, and what a worker says of itself."""

import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from benchmarks.lab.result import BenchmarkError
from knightwatch.process import Child
from schemas import metrics as m

SAMPLE_S: Final = 0.1
STOP_S: Final = 15.0
_PROCESSED: Final = f'{m.BATCH.name}_sum{{stage="stage1"}}'


class Watched:
    """A child process and the greatest resident memory it was seen with (every 0.1 s). Ended on leaving the block."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        self.peak_rss_mb = 0.0
        self._child = Child(command, log, env)
        self._process = psutil.Process(self._child.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="rss", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.peak_rss_mb = max(self.peak_rss_mb, self.rss_mb())

    def rss_mb(self) -> float:
        """Resident memory now; 0 when it has ended."""
        try:
            return float(self._process.memory_info().rss) / 2**20
        except psutil.Error:
            return 0.0

    def cpu_s(self) -> float:
        """CPU seconds so far, user and system, all threads; 0 when it has ended."""
        try:
            used = self._process.cpu_times()
        except psutil.Error:
            return 0.0
        return float(used.user + used.system)

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    def wait(self, timeout_s: float) -> int | None:
        """Exit code; None when it still runs after ``timeout_s``."""
        self._child.wait(timeout_s)
        return self._child.exit_code

    def tail(self, lines: int = 60) -> str:
        """The last lines it printed."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """SIGTERM, SIGKILL after 15 s."""
        self._stop.set()
        self._thread.join()
        self._child.stop(STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Worker(Watched):
    """A real ``knightwatch worker``, everything on, and its ``/metrics``."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, name: str = "worker", config: str = "") -> None:
        """config: text of a configuration file besides the defaults. folder: for its log and data."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._url = f"http://127.0.0.1:{port}/metrics"
        command = [sys.executable, "-m", "knightwatch", "worker", "--bootstrap", bootstrap, "--prefix", prefix]
        command += ["--metrics-port", str(port), "--data", str(folder / name), "--loglevel", "warning"]
        if config:
            file = folder / f"{name}.toml"
            file.write_text(config, encoding="utf-8")
            command += ["--config", str(file)]
        super().__init__(command, folder / f"{name}.log")

    def processed(self) -> int:
        """Events that stage 1 has taken in, as ``/metrics`` says (0 while nothing answers)."""
        try:
            with urllib.request.urlopen(self._url, timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0
        for line in text.splitlines():
            if line.startswith(_PROCESSED):
                return int(float(line.rsplit(" ", 1)[1]))
        return 0

    def check(self) -> None:
        """BenchmarkError with the end of its log when it is no longer there."""
        if self.exit_code is not None:
            raise BenchmarkError(f"the worker ended (exit code {self.exit_code}). It said:\n{self.tail()}")


def until(check: Callable[[], bool], timeout_s: float, every_s: float, what: str, *workers: Worker) -> None:
    """Wait for ``check``; BenchmarkError when it stays false or a worker dies."""
    end = time.monotonic() + timeout_s
    while not check():
        for worker in workers:
            worker.check()
        if time.monotonic() > end:
            said = "\n".join(worker.tail() for worker in workers)
            raise BenchmarkError(f"no {what} within {timeout_s:g} s.\n{said}")
        time.sleep(every_s)
