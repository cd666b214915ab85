"""What one worker is told: where Kafka is, what the topics are called, and how it behaves."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halts.config import Config
from schemas.topics import Topic, topic_name
from streams.batches import Limits
from streams.transport import FETCH_WAIT_MS_MAX


@dataclass(frozen=True)
class Settings:
    """Everything ``build_app`` needs. Times in the unit of their name."""

    config: Config = field(default_factory=Config)
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further options of every Kafka client, in the words of kafka-python and aiokafka: security
    (``halts.gate_security.client_options``). Holds a password: never printed."""
    metrics_port: int | None = None
    """Port of ``/metrics``; None: not exposed. 0: any free one."""
    data: Path | None = None
    """Folder for Faust's own files; None: one under the system's temporary folder."""
    flow_limits: Limits = field(default_factory=Limits)
    """A batch of order flow: at 1 us an event, 4096 hold the loop for some 4 ms."""
    other_limits: Limits = field(default_factory=lambda: Limits(records_max=1024))
    fetch_wait_ms_max: int = FETCH_WAIT_MS_MAX
    snapshot_interval_s: float = 3.0
    """How much of the log is read again after a death, at the least; what is read again is a matter of milliseconds."""
    commit_interval_s: float = 1.0
    tick_ms: int = 100
    session_timeout_s: float = 6.0
    """A worker that died is noticed after this. 6 s is the least a broker allows by default."""
    heartbeat_s: float = 1.0

    @property
    def bootstrap(self) -> str:
        """``host:port[,host:port...]``."""
        return self.config.kafka.bootstrap

    @property
    def prefix(self) -> str:
        return self.config.kafka.prefix

    def topic(self, topic: Topic) -> str:
        """Name of ``topic`` on the broker."""
        return topic_name(topic, self.prefix)

    @property
    def group(self) -> str:
        """Consumer group: one per prefix, so that two fleets on one cluster stay apart."""
        return self.prefix + self.config.kafka.app_id

    @property
    def folder(self) -> Path:
        return self.data or Path(tempfile.gettempdir()) / f"{self.group}-worker"
