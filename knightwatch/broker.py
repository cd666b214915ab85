"""The embedded broker: a real Apache Kafka (KRaft, one node) with nothing but pip, for tests, demo and command line."""

import json
import os
import shutil
import tempfile
import time
import uuid
import weakref
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Self

from knightwatch import jars
from knightwatch.broker_host import (
    MARKER,
    PREFIX,
    BrokerError,
    PortTaken,
    check_data_folder,
    check_memory,
    check_port_free,
    free_ports,
    listening,
    lock_folder,
    sweep,
)
from knightwatch.broker_properties import (
    COORDINATES,
    FORMAT_FLAGS,
    HEAP_MB_DEFAULT,
    HOST,
    KAFKA_VERSION,
    LOG4J,
    LOGGING,
    OFF_HEAP_MB,
    jvm_flags,
    server_properties,
)
from knightwatch.process import Child

if TYPE_CHECKING:
    from knightwatch.broker_security import BrokerSecurity

_TAIL_LINES: Final = 15
_PORT_ATTEMPTS: Final = 3
_STOP_GRACE_S: Final = 10.0


class EmbeddedKafka:
    """A Kafka broker of our own on ``127.0.0.1``.

    ``with EmbeddedKafka() as kafka: connect(kafka.bootstrap)``. It is its own process group and is killed when this
    process dies, however it dies. Temporary data goes with it; a named ``data`` folder is kept and taken up again.

    - ``port``: 0 chooses a free one, which stays the same over ``restart``.
    - ``data``: folder to keep; None is a temporary one.
    - ``cluster_id``: base64 UUID; None takes the folder's, or a new one. Another one than the folder's is an error.
    - ``heap_mb``: the JVM's largest heap.
    - ``extra_properties``: server properties that win over ours; ``{port}`` and ``{controller_port}`` are filled in.
    - ``format_arguments``: more arguments for Kafka's ``StorageTool format`` on first use (``--add-scram ...``).
    - ``java_options``: more flags of the JVM (``-Djava.security.auth.login.config=...``).
    - ``client``: how a kafka-python admin client must connect (security_protocol, ...) to see that it is ready.
    - ``security``: TLS, users and the authorizer (``knightwatch.broker_security``); it sets what ``client`` says.

    Raises BrokerError, and knightwatch.jars.JarError when the jars cannot be had.
    """

    def __init__(
        self,
        port: int = 0,
        data: str | os.PathLike[str] | None = None,
        *,
        cluster_id: str | None = None,
        heap_mb: int = HEAP_MB_DEFAULT,
        start_timeout_s: float = 90.0,
        extra_properties: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        java_options: Sequence[str] = (),
        client: Mapping[str, Any] | None = None,
        security: "BrokerSecurity | None" = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise BrokerError(f"port {port} is not a TCP port; expected 1 to 65535, or 0 for any free one")
        self.port = port
        self.cluster_id = cluster_id
        self.heap_mb = heap_mb
        self.start_timeout_s = start_timeout_s
        self._named = None if data is None else Path(data).expanduser().resolve()
        self._extra = dict(extra_properties or {})
        self._format_arguments = list(format_arguments)
        self._java_options = list(java_options)
        self._client = dict(client or {})
        self.security = security
        self._data: Path | None = None
        self._lock: IO[str] | None = None
        self._child: Child | None = None
        self._children: list[Child] = []
        self._remove: weakref.finalize[..., Any] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """The folder with everything of this broker."""
        if self._data is None:
            raise BrokerError("the broker has no data folder yet; start() makes it")
        return self._data

    @property
    def log_file(self) -> Path:
        return self.data / "server.log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child is not None and self.running else None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start, and return when a client gets metadata and a controller. Does nothing while it runs."""
        if self.running:
            return
        java, class_path = jars.java(), jars.class_path("kafka", COORDINATES, LOGGING)
        check_memory(self.heap_mb + OFF_HEAP_MB)
        chosen = self.port
        if chosen:
            check_port_free(chosen)
        self._open_data()
        if self.security is not None:
            self.security.prepare(self.data)
            self._extra = {**self.security.properties(), **self._extra}
            self._client = {**self.security.admin_options(), **self._client}
        base = [str(java), "-cp", ":".join(map(str, class_path))]
        self._format(base)
        for attempt in range(_PORT_ATTEMPTS):
            try:
                self._launch(base, chosen)
                if self.security is not None:
                    self.security.create_users(self.bootstrap)
                return
            except PortTaken:
                # a free port may be gone by the time the broker binds it; one that was asked for cannot be swapped
                if chosen or attempt == _PORT_ATTEMPTS - 1:
                    raise

    def stop(self) -> None:
        """SIGTERM, SIGKILL after 10 s. Port and data stay for ``start``."""
        if self._child is not None:
            self._child.stop(_STOP_GRACE_S)

    def kill(self) -> None:
        """SIGKILL, as a crash: no goodbye, no flush. Port and data stay for ``start``."""
        if self._child is not None:
            self._child.kill()

    def restart(self) -> None:
        """Stop (if it runs) and start on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop; a temporary folder goes, a named one is released."""
        self.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._remove is not None:
            self._remove()
            self._remove = None
        self._data = None

    def wait(self) -> None:
        """Block until the broker ends; raise BrokerError, since it does not end by itself when all is well."""
        if self._child is not None:
            self._child.wait()
            raise BrokerError(f"Kafka ended (exit code {self._child.exit_code}). It said:\n{self.tail()}")

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines that the broker logged or printed."""
        text = ""
        for name in ("server.log", "console.log"):
            path = self.data / name
            if path.is_file():
                text += path.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _open_data(self) -> None:
        if self._data is not None:
            return
        if self._named is None:
            sweep(Path(tempfile.gettempdir()))
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._remove = weakref.finalize(self, _discard, folder, self._children)
        else:
            folder = self._named
            check_data_folder(folder)
        self._lock = lock_folder(folder)
        self._data = folder

    def _format(self, base: list[str]) -> None:
        """Give a new folder its cluster id. Made beside and renamed, so that it is there whole or not at all."""
        marker, storage = self.data / MARKER, self.data / "log"
        found = json.loads(marker.read_text()) if marker.is_file() else None
        if found is not None and storage.is_dir():
            if self.cluster_id not in (None, found["cluster_id"]):
                raise BrokerError(
                    f"{self.data} belongs to cluster {found['cluster_id']}; expected {self.cluster_id}. "
                    "Give another folder, or leave the cluster id out to take this one up"
                )
            self.cluster_id = found["cluster_id"]
            return
        self.cluster_id = self.cluster_id or urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        part = self.data / "log.part"
        shutil.rmtree(part, ignore_errors=True)
        settings = self.data / "format.properties"
        _write_private(settings, server_properties(1, 2, part, self._extra))
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self.cluster_id}",  # in one word: an id may begin with a dash
            "-c",
            str(settings),
            *self._format_arguments,
        ]
        child = Child([base[0], *FORMAT_FLAGS, *base[1:], *tool], self.data / "console.log")
        try:
            ended = child.wait(self.start_timeout_s)
        finally:
            child.kill()
            settings.unlink(missing_ok=True)
        if not ended or child.exit_code != 0:
            raise BrokerError(f"Kafka could not format {part} (exit code {child.exit_code}). It said:\n{self.tail()}")
        marker.write_text(json.dumps({"cluster_id": self.cluster_id, "kafka": KAFKA_VERSION}) + "\n")
        part.rename(storage)

    def _launch(self, base: list[str], chosen: int) -> None:
        port, controller_port = free_ports(2)
        self.port = chosen or port
        for name in ("server.log", "console.log"):
            if (self.data / name).is_file():
                (self.data / name).replace(self.data / f"{name}.previous")
        settings, log4j = self.data / "server.properties", self.data / "log4j2.properties"
        _write_private(settings, server_properties(self.port, controller_port, self.data / "log", self._extra))
        log4j.write_text(LOG4J)
        flags = [
            *jvm_flags(self.heap_mb),
            f"-Dlog4j2.configurationFile={log4j}",
            f"-Dknightwatch.log={self.log_file}",
            *self._java_options,
        ]
        command = [base[0], *flags, *base[1:], "kafka.Kafka", str(settings)]
        assert self._lock is not None, "_open_data took the lock"
        self._child = Child(command, self.data / "console.log", pass_fds=[self._lock.fileno()])
        self._children[:] = [self._child]
        try:
            self._wait_ready()
        except BaseException:
            self._child.kill()
            if not chosen:
                self.port = 0
            raise

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        last = "nothing listens yet"
        while time.monotonic() < deadline:
            self._check_alive()
            if listening(self.port):
                last = self._probe()
                if not last:
                    return
            time.sleep(0.05)
        raise BrokerError(f"Kafka was not ready after {self.start_timeout_s:g} s ({last}). It said:\n{self.tail()}")

    def _check_alive(self) -> None:
        assert self._child is not None
        code = self._child.exit_code
        if code is None:
            return
        tail = self.tail(200)
        if "Address already in use" in tail:
            raise PortTaken(
                f"port {self.port} is in use; stop what listens there, or give another port (0: any free one)"
            )
        if code == -9 or "OutOfMemoryError" in tail or "insufficient memory" in tail or "Could not reserve" in tail:
            raise BrokerError(
                f"Kafka did not get the memory it needs: {self.heap_mb} MB heap and about {OFF_HEAP_MB} MB beside it "
                f"(exit code {code}). Free some, or lower heap_mb. It said:\n{self.tail()}"
            )
        raise BrokerError(f"Kafka ended at start with exit code {code}. It said:\n{self.tail()}")

    def _probe(self) -> str:
        """Empty when a client sees the broker and its controller, else what is missing."""
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        settings = {
            "bootstrap_servers": self.bootstrap,
            "bootstrap_timeout_ms": 5000,
            "request_timeout_ms": 5000,
            **self._client,
        }
        try:
            admin = KafkaAdminClient(**settings)
        except KafkaError as error:
            return repr(error)
        try:
            cluster = admin.describe_cluster()
            ready = bool(cluster.get("brokers")) and cluster.get("controller_id", -1) >= 0
            return "" if ready else f"no broker registered: {cluster}"
        except KafkaError as error:
            return repr(error)
        finally:
            admin.close()


def _write_private(path: Path, text: str) -> None:
    """Server properties may hold a password."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _discard(folder: Path, children: list[Child]) -> None:
    """What is left of a broker that nobody closed, at the latest when the interpreter ends."""
    for child in children:
        child.kill()
    shutil.rmtree(folder, ignore_errors=True)
