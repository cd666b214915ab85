"""Who may do what on a real broker with the real authorizer: every cell is tried, none is taken from our own table."""

import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    ResourcePattern,
    ResourceType,
)
from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from knightwatch.broker_security import ADMIN
from knightwatch.cli import run
from tests.integration_security.conftest import Secured

TOPICS = (
    "orderflow",
    "nodes",
    "declared",
    "verdicts",
    "halts",
    "acks",
    "commands",
    "audit",
    "dead-letters",
    "snapshots",
)
WRITES = {
    "router": {"orderflow", "nodes", "acks", "dead-letters"},
    "worker": {"verdicts", "halts", "audit", "dead-letters", "snapshots", "acks"},
    "operator": {"commands"},
    "break-glass": {"commands", "halts"},
    "release": {"declared"},
    "viewer": set(),
}
READS = {
    "router": {"halts"},
    "worker": set(TOPICS),
    "operator": {"halts", "acks", "commands", "audit", "nodes"},
    "break-glass": {"halts", "acks", "commands", "audit", "nodes"},
    "release": set(),
    "viewer": set(TOPICS) - {"snapshots"},
}


def producer_of(secured: Secured, user: str) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=secured.bootstrap, acks="all", max_block_ms=30_000, delivery_timeout_ms=30_000,
        request_timeout_ms=15_000, **secured.options(user),
    )  # fmt: skip


def may_write(producer: KafkaProducer, topic: str) -> bool:
    try:
        producer.send(topic, key=b"matrix", value=b"{}" if topic != "halts" else None, partition=0).get(40)
        return True
    except KafkaError as error:
        if "AuthorizationFailed" not in repr(error):
            raise  # nothing else may keep it out
        return False


@contextmanager
def consumer_of(secured: Secured, user: str, **more: Any) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(
        bootstrap_servers=secured.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=10,
        **{"group_id": None, **more}, **secured.options(user),
    )  # fmt: skip
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False)


def may_read(consumer: KafkaConsumer, topic: str) -> bool:
    """Fetches until there is a record or a refusal: something stands on every topic."""
    end = time.monotonic() + 20
    try:
        consumer.end_offsets([TopicPartition(topic, 0)])  # a topic that may not even be seen is refused here
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        while time.monotonic() < end:
            if consumer.poll(timeout_ms=200):
                return True
    except TopicAuthorizationFailedError:
        return False
    raise AssertionError(f"neither a record of {topic} nor a refusal")


@pytest.fixture(scope="module")
def filled(secured: Secured) -> Secured:
    """A record on every topic, by the administrator."""
    producer = KafkaProducer(bootstrap_servers=secured.bootstrap, **secured.options(ADMIN))
    for topic in TOPICS:
        producer.send(topic, key=b"matrix", value=b"{}" if topic != "halts" else None, partition=0).get(20)
    producer.close()
    return secured


@pytest.mark.parametrize("user", sorted(WRITES))
def test_each_writes_what_is_theirs_and_nothing_else(secured: Secured, user: str) -> None:
    allowed, producer = set(), producer_of(secured, user)
    for topic in sorted(TOPICS, key=lambda topic: topic not in WRITES[user]):
        if may_write(producer, topic):
            allowed.add(topic)
        else:  # one that was refused for good does not try again
            producer.close(timeout=1)
            producer = producer_of(secured, user)
    producer.close(timeout=1)
    assert allowed == WRITES[user]


@pytest.mark.parametrize("user", sorted(READS))
def test_each_reads_what_they_need_and_nothing_else(filled: Secured, user: str) -> None:
    allowed = set()
    for topic in TOPICS:
        with consumer_of(filled, user) as consumer:
            if may_read(consumer, topic):
                allowed.add(topic)
    assert allowed == READS[user]


def test_only_the_workers_are_in_their_group(secured: Secured) -> None:
    with consumer_of(secured, "worker", group_id="knightwatch") as consumer:
        consumer.subscribe(["commands"])
        consumer.poll(timeout_ms=3_000)
        assert consumer.assignment() is not None
    with consumer_of(secured, "viewer", group_id="knightwatch") as consumer:
        consumer.subscribe(["commands"])
        with pytest.raises(GroupAuthorizationFailedError):
            consumer.poll(timeout_ms=5_000)


@pytest.mark.parametrize("user", ["router", "worker", "operator"])
def test_nobody_makes_topics_deletes_them_or_gives_permissions(secured: Secured, user: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=secured.bootstrap, **secured.options(user))
    everything = ACL(
        f"User:{user}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "halts")
    )
    try:
        with pytest.raises(AuthorizationError):
            admin.create_topics([NewTopic("mine", 1, 1)])
        with pytest.raises(AuthorizationError):
            admin.delete_topics(["halts"])
        answer = admin.create_acls([everything])
        assert not answer["succeeded"]
        assert answer["failed"] == [ClusterAuthorizationFailedError]
    finally:
        admin.close()


def refuses(**options: Any) -> str:
    with pytest.raises((KafkaError, ssl.SSLError, OSError)) as refused:
        KafkaAdminClient(request_timeout_ms=2_000, bootstrap_timeout_ms=1_500, **options).close()
    return repr(refused.value)


def test_who_cannot_prove_who_they_are_gets_nowhere(
    secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = secured.options("router")
    at = {"bootstrap_servers": secured.bootstrap}
    KafkaAdminClient(**at, **good).close()
    guess = tmp_path / "guess"
    guess.touch(0o600)
    guess.write_text("a guess")
    text = secured.toml("router").read_text()
    (tmp_path / "guess.toml").write_text(re.sub('password_file = ".*"', f'password_file = "{guess}"', text))
    assert run(["topics", "--timeout-s", "2", "--config", str(tmp_path / "guess.toml")]) == 1
    assert "it refused SASL_SSL as user 'router'" in capsys.readouterr().err
    wrong = f"{secured.password('worker')}x"
    assert wrong not in refuses(**at, **{**good, "sasl_plain_password": wrong})
    refuses(**at, **{**good, "sasl_plain_username": "nobody"})
    refuses(**at, **{**good, "sasl_plain_username": "worker"})  # the router's password
    refuses(**at)  # no TLS, no user
    refuses(**at, **{**good, "ssl_context": ssl.create_default_context()})  # an authority we do not know
    refuses(**at, security_protocol="SSL", ssl_context=good["ssl_context"])  # TLS alone
    port = secured.bootstrap.rpartition(":")[2]
    refuses(**{**good, "bootstrap_servers": f"127.0.0.2:{port}"})  # the certificate is for 127.0.0.1


def test_verify_finds_what_is_missing_and_who_has_too_much(
    secured: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(secured.toml(ADMIN))
    assert run(["topics", "--acls", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out)["granted"] == []
    admin = KafkaAdminClient(bootstrap_servers=secured.bootstrap, **secured.options(ADMIN))
    pattern = ResourcePattern(ResourceType.TOPIC, "ha", ACLResourcePatternType.PREFIXED)
    sneaked = ACL("User:stranger", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, pattern)
    taken = ACL(
        "User:router", "*", ACLOperation.READ, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "halts")
    )
    try:
        admin.create_acls([sneaked])
        admin.delete_acls([taken])
        assert run(["topics", "--acls", "--json", "--config", config]) == 1
        found = json.loads(capsys.readouterr().out)
        assert [(p["principal"], p["operation"], p["name"]) for p in found["granted"]] == [
            ("User:router", "Read", "halts")
        ]
        (difference,) = found["differences"]
        assert difference["topic"] == "halts"
        assert difference["what"] == "Write by User:stranger (by the pattern 'ha', PREFIXED)"
    finally:
        admin.delete_acls([sneaked])
        admin.close()
    assert run(["topics", "--acls", "--config", config]) == 0
    assert run(["topics", "--acls", "--config", str(secured.toml("operator"))]) == 1
    assert "the administrator's" in capsys.readouterr().err


def test_a_broker_without_an_authorizer_is_said(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["topics", "--acls", "--bootstrap", kafka, "--prefix", topic_prefix]) == 1
    assert "has no authorizer: everybody may write everything" in capsys.readouterr().err
