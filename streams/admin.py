"""Topics on the broker: made as ``schemas.topics`` has them, and compared with it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import AuthorizationError, KafkaError, TopicAlreadyExistsError

from halts.config import KafkaConfig
from halts.gate_security import refusal_hint
from schemas.topics import ALL, INTERNAL, Topic, partition_count, topic_name

RETRY_S: Final = 0.5
Options = Mapping[str, Any] | None
"""Further options of a Kafka client (security)."""
TOPICS: Final = (*ALL, *INTERNAL)


class TopicsError(Exception):
    """Topics cannot be had as they must be; says what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of one topic that is not as it must be."""

    topic: str
    what: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.what} is {self.found}, expected {self.expected}; {self.remedy}"


def create_topics(config: KafkaConfig, timeout_s: float = 30.0, kafka: Options = None) -> list[str]:
    """Create what is missing; returns the names created. TopicsError when the broker does not answer in time or a topic
    that exists is not as it must be in a way that loses events or order. kafka: further options of the client."""
    admin = connect(config.bootstrap, timeout_s, kafka)
    try:
        created = _create_missing(admin, config, timeout_s)
        fatal = [d for d in _differences(admin, config) if d.what == "partitions"]
    except KafkaError as error:
        raise TopicsError(refusal(config.bootstrap, error)) from error
    finally:
        admin.close()
    if fatal:
        raise TopicsError("\n".join(map(str, fatal)))
    return created


def verify_topics(config: KafkaConfig, timeout_s: float = 10.0, kafka: Options = None) -> list[Difference]:
    """Every difference between the broker and ``schemas.topics``. TopicsError when the broker does not answer."""
    admin = connect(config.bootstrap, timeout_s, kafka)
    try:
        return _differences(admin, config)
    except KafkaError as error:
        raise TopicsError(refusal(config.bootstrap, error)) from error
    finally:
        admin.close()


def refusal(bootstrap: str, error: KafkaError) -> str:
    """What to tell a person of an error that the broker answered."""
    if isinstance(error, AuthorizationError):
        return (
            f"Kafka at {bootstrap} refused: {type(error).__name__}; making topics and permissions is the "
            "administrator's: connect as one of its super.users ([kafka.security]), and run `knightwatch topics --acls`"
        )
    return f"Kafka at {bootstrap} refused: {type(error).__name__}: {error}"


def connect(bootstrap: str, timeout_s: float, kafka: Options = None) -> KafkaAdminClient:
    """An admin client, trying until ``timeout_s`` is over; then TopicsError."""
    end = time.monotonic() + timeout_s
    while True:
        patience_ms = max(int((end - time.monotonic()) * 1000), 500)
        try:
            return KafkaAdminClient(
                bootstrap_servers=bootstrap.split(","),
                request_timeout_ms=5_000,
                bootstrap_timeout_ms=patience_ms,
                **(kafka or {}),
            )
        except (KafkaError, OSError, ValueError) as error:
            if time.monotonic() + RETRY_S >= end:
                raise TopicsError(
                    f"no Kafka at {bootstrap} within {timeout_s:g} s ({type(error).__name__}: {error}); "
                    f"`knightwatch broker` starts one, --bootstrap HOST:PORT names another; {refusal_hint(kafka)}"
                ) from error
            time.sleep(RETRY_S)


def _create_missing(admin: KafkaAdminClient, config: KafkaConfig, timeout_s: float) -> list[str]:
    there = set(admin.list_topics())
    created = []
    for topic in TOPICS:
        name = topic_name(topic, config.prefix)
        if name in there:
            continue
        wanted = NewTopic(
            name=name,
            num_partitions=partition_count(topic, config.partitions),
            replication_factor=config.replication,
            topic_configs=topic.config(),
        )
        try:
            admin.create_topics([wanted])
            created.append(name)
        except TopicAlreadyExistsError:
            continue  # another worker was faster
    _wait(admin, {topic_name(t, config.prefix) for t in TOPICS}, timeout_s)
    return created


def _wait(admin: KafkaAdminClient, names: set[str], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while missing := names - set(admin.list_topics()):
        if time.monotonic() > end:
            raise TopicsError(f"topics {', '.join(sorted(missing))} did not appear within {timeout_s:g} s of creation")
        time.sleep(0.05)


def _differences(admin: KafkaAdminClient, config: KafkaConfig) -> list[Difference]:
    there = set(admin.list_topics())
    names = {topic_name(t, config.prefix): t for t in TOPICS}
    out = [
        Difference(name, "the topic", "missing", topic.carries, "run `knightwatch topics`")
        for name, topic in names.items()
        if name not in there
    ]
    found = [name for name in names if name in there]
    if not found:
        return out
    for described in admin.describe_topics(found):
        name = str(described["name"])
        out += _partitions(name, len(described["partitions"]), partition_count(names[name], config.partitions))
    settings = _settings(admin, found)
    for name in found:
        out += _config(name, names[name], settings.get(name, {}))
    return out


def _partitions(name: str, found: int, expected: int) -> list[Difference]:
    if found == expected:
        return []
    remedy = "set kafka.partitions to what is there, or move to a new --prefix (a server must stay on its partition)"
    return [Difference(name, "partitions", str(found), str(expected), remedy)]


def _config(name: str, topic: Topic, found: dict[str, str]) -> list[Difference]:
    return [
        Difference(name, key, found.get(key, "unknown"), value, _remedy(name, key, value))
        for key, value in topic.config().items()
        if found.get(key) != value
    ]


def _remedy(name: str, key: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {key}={value}"


def _settings(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Topic -> its settings."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    # not only what was set on the topic: a default that is right is right
    answer: Any = admin.describe_configs(asked, config_filter="all")
    return _as_settings(answer)


def _as_settings(answer: Any) -> dict[str, dict[str, str]]:
    return {
        str(name): {str(key): str(entry["value"]) for key, entry in entries.items()}
        for name, entries in answer["topic"].items()
    }
