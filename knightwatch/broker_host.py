"""What the embedded broker needs from this machine: ports, memory, a folder that is its own."""

import fcntl
import os
import shutil
import socket
import time
from pathlib import Path
from stat import S_ISDIR
from typing import IO, Final

from knightwatch.broker_properties import HOST

PREFIX: Final = "knightwatch-kafka-"
"""Temporary folders start with this, and only ours do."""
LOCK: Final = ".knightwatch.lock"
MARKER: Final = "broker.json"
_ABANDONED_S: Final = 3600
_CGROUP: Final = Path("/sys/fs/cgroup")


class BrokerError(RuntimeError):
    """The embedded broker could not do what was asked. The message says what was found, expected and to be done."""


class PortTaken(BrokerError):
    """Somebody else listens where the broker should."""


def listening(port: int) -> bool:
    """True when something on this machine accepts connections on ``port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def check_port_free(port: int) -> None:
    """Raise PortTaken when ``port`` cannot be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"port {port} cannot be used ({error.strerror}); "
                "stop what listens there, or give another (0: any free one)"
            ) from error


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nothing holds at this moment."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def check_memory(needed_mb: int) -> None:
    """Raise BrokerError when machine or container have less than ``needed_mb`` to give. Unknown counts as enough."""
    free_mb = min((m for m in (_machine_free_mb(), cgroup_free_mb()) if m is not None), default=None)
    if free_mb is not None and free_mb < needed_mb:
        raise BrokerError(
            f"{free_mb} MB of memory are free; the broker needs about {needed_mb} MB. "
            "Stop something, or give it less (heap_mb, --heap-mb), or use another cluster with --bootstrap"
        )


def _machine_free_mb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), None)


def cgroup_free_mb(root: Path = _CGROUP) -> int | None:
    """Limit less use of the container (cgroup v2), file cache not counted as used; None without a limit."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if not limit.isdigit():
        return None
    return (int(limit) - used + int(stat.get("inactive_file", 0))) // (1024 * 1024)


def check_data_folder(folder: Path) -> None:
    """Make ``folder``, or see that it is empty or one of ours. Raises BrokerError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise BrokerError(f"{folder} cannot be the data folder ({error}); give a folder that can be written") from error
    if names and MARKER not in names and LOCK not in names:
        some = ", ".join(sorted(names)[:3])
        raise BrokerError(
            f"{folder} holds {some}; expected an empty folder or one made by the embedded broker. Give another folder"
        )


def lock_folder(folder: Path) -> IO[str]:
    """The folder is ours as long as the file returned stays open, here or in a child. BrokerError: it is another's."""
    path = folder / LOCK
    try:
        handle = path.open("a")
    except OSError as error:
        raise BrokerError(f"{folder} cannot be written ({error}); give a folder that can") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise BrokerError(f"{folder} is in use by another broker; stop that one, or give another folder") from error
    return handle


def sweep(parent: Path) -> list[Path]:
    """Remove temporary folders whose owner was killed before it could: ours by name and user, locked by nobody.

    A folder without the lock file is being made, or was being removed; after an hour it is the latter.
    """
    removed = []
    for folder in sorted(parent.glob(PREFIX + "*")):
        lock = folder / LOCK
        try:
            stat = folder.lstat()
            young = time.time() - stat.st_mtime < _ABANDONED_S
            if not S_ISDIR(stat.st_mode) or stat.st_uid != os.getuid() or (young and not lock.is_file()):
                continue
            with lock.open("a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or going away by itself
        removed.append(folder)
    return removed
