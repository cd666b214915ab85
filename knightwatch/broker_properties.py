"""What the embedded broker is told: server properties, log settings and JVM flags, for one node on a small machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

KAFKA_VERSION: Final = "4.3.1"
SCALA_VERSION: Final = "2.13"
COORDINATES: Final = (f"org.apache.kafka:kafka_{SCALA_VERSION}:{KAFKA_VERSION}",)
LOGGING: Final = ("org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",)
"""Kafka's distribution adds this SLF4J binding by hand: no artifact depends on it. Same version as its log4j-core."""

HOST: Final = "127.0.0.1"
HEAP_MB_DEFAULT: Final = 384
OFF_HEAP_MB: Final = 220
"""Measured beside the heap: metaspace, code cache, thread stacks, direct buffers."""

LOG4J: Final = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:knightwatch.log}
appender.file.filePattern = ${sys:knightwatch.log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 16MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
"""


def server_properties(port: int, controller_port: int, log_dir: Path, extra: Mapping[str, str]) -> str:
    """The text of ``server.properties``: a KRaft node that is broker and controller at once.

    ``extra`` wins over everything here; ``{port}`` and ``{controller_port}`` in its values are filled in.
    """
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(log_dir),
        **_SINGLE_NODE,
        **_SMALL_AND_FAST,
    }
    filled = {
        k: v.replace("{port}", str(port)).replace("{controller_port}", str(controller_port)) for k, v in extra.items()
    }
    return "".join(f"{key}={_escaped(value)}\n" for key, value in {**settings, **filled}.items())


def _escaped(value: str) -> str:
    """As java.util.Properties reads it back."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")


_SINGLE_NODE: Final = {
    "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
}

_SMALL_AND_FAST: Final = {
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),  # 128 MB of heap otherwise
    "log.index.size.max.bytes": str(1024 * 1024),  # preallocated and mapped for every partition
    "log.segment.bytes": str(128 * 1024 * 1024),
    "socket.send.buffer.bytes": str(1024 * 1024),
    "socket.receive.buffer.bytes": str(1024 * 1024),
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",  # a broker that was killed may register again only after this long
}


def jvm_flags(heap_mb: int) -> list[str]:
    """Flags of the broker's JVM: short pauses and a bounded footprint on two cores that others share."""
    return [
        f"-Xms{min(heap_mb, 128)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=10",
        "-XX:ConcGCThreads=1",
        "-XX:MaxDirectMemorySize=128m",
        "-XX:+UseCompactObjectHeaders",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Xlog:disable",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
    ]


FORMAT_FLAGS: Final = ("-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
