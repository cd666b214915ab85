"""The one table of topics: the only place that spells their names."""

from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must exist on the broker. ``partitions`` of 0 means: as many as configured for order flow."""

    name: str
    key: str
    partitions: int
    cleanup: str
    carries: str
    retention_ms: int = 7 * DAY_MS
    extra: tuple[tuple[str, str], ...] = ()
    """Further topic-level settings of the broker."""

    def config(self) -> dict[str, str]:
        """Topic-level broker settings.

        The broker stamps records. With the sender's clock instead, Kafka refuses a router whose clock is an hour ahead
        (and its idempotent producer with it, for good), and retention goes by what senders claim.
        """
        common = {"message.timestamp.type": "LogAppendTime", **dict(self.extra)}
        if self.cleanup == "compact":
            return {"cleanup.policy": "compact", **common}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms), **common}


SMALL_SEGMENTS: Final = (("segment.bytes", "4194304"), ("min.cleanable.dirty.ratio", "0.1"))
"""The log cleaner leaves the segment being written alone, 1 GB by default: a gate that starts would first read a week
of heartbeats."""

ORDERFLOW: Final = Topic("orderflow", "server", 0, "delete", "order events of the routers")
NODES: Final = Topic("nodes", "server", 0, "compact", "observed state of a node, every second", extra=SMALL_SEGMENTS)
DECLARED: Final = Topic(
    "declared", "server", 0, "compact", "what the release process says a node runs", extra=SMALL_SEGMENTS
)
VERDICTS: Final = Topic("verdicts", "server", 1, "delete", "stage 1 to stage 2: breaches, feature rows, ticks")
HALTS: Final = Topic(
    "halts", "scope", 1, "compact", "the state of every scope, and the desk's heartbeat", extra=SMALL_SEGMENTS
)
ACKS: Final = Topic("acks", "server", 1, "delete", "what a gate did about a halt")
COMMANDS: Final = Topic("commands", "scope", 1, "delete", "operators' signed commands", 365 * DAY_MS)
AUDIT: Final = Topic("audit", "-", 1, "delete", "hash-chained record of transitions and commands", 5 * 365 * DAY_MS)
DEAD_LETTERS: Final = Topic("dead-letters", "server", 1, "delete", "what could not be decoded, with the reason")

SNAPSHOTS: Final = Topic(
    "snapshots", "engine", 0, "compact", "state of the engines, in chunks (streams.snapshots)",
    extra=(("segment.bytes", "33554432"), ("min.cleanable.dirty.ratio", "0.1")),
)  # fmt: skip

ALL: Final = (ORDERFLOW, NODES, DECLARED, VERDICTS, HALTS, ACKS, COMMANDS, AUDIT, DEAD_LETTERS)
"""What other programs may rely on."""
INTERNAL: Final = (SNAPSHOTS,)
"""Ours alone: must exist as well, but holds nothing that others may rely on, and is not recorded."""

PARTITIONS_DEFAULT: Final = 8
HEARTBEAT_KEY: Final = "_heartbeat"
"""Key under which the desk's heartbeat stands on ``halts``."""
HEARTBEAT_MS: Final = 250


def topic_name(topic: Topic, prefix: str = "") -> str:
    """The name on the broker: every topic takes the same configurable prefix."""
    return prefix + topic.name


def partition_count(topic: Topic, orderflow_partitions: int = PARTITIONS_DEFAULT) -> int:
    """Partitions that ``topic`` must have."""
    return topic.partitions or orderflow_partitions
