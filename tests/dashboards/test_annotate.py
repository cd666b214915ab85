"""Halts, resumes and deploys become annotations: once each, at the right time, at once."""

import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from dashboards.annotate import Annotation, Annotator, Story, of_deploy, of_halt
from dashboards.push import Grafana, PushError
from schemas.records import Declared, HaltRecord, Heartbeat, Money, State, encode
from schemas.scopes import CANARY
from schemas.topics import DECLARED, HALTS, HEARTBEAT_KEY, topic_name
from schemas.units import S_NS

from .grafana_stub import ADMIN, Stub, serve

AT_ONCE_S = 20.0
"""Two seconds are meant, and usual; a busy machine must not fail a test."""
T0 = 1_343_827_801 * S_NS
"""2012-08-01 13:30:01 UTC."""


def halt(state: State, epoch: int, scope: str = "server:R3", halt_id: str = "h1", generation: int = 0) -> HaltRecord:
    return HaltRecord(
        halt_id=halt_id, epoch=epoch, scope=scope, state=state, action="block_and_cancel", ts_event=T0,
        ts_decided=T0 + epoch * S_NS, cause=(), text="R3 sends children of full parents.",
        money=Money(loss_usd=170_370.4), by="desk", generation=generation,
    )  # fmt: skip


def take(story: Story, record: HaltRecord) -> list[Annotation]:
    return story.take(HALTS, record.scope, encode(record))


# --- the pure part ----------------------------------------------------------------------------------------------------


def test_a_halt_says_who_when_how_much() -> None:
    made = of_halt(halt("HALTING", 1), None, "http://desk")
    assert made is not None
    assert made.time_ms == (T0 + S_NS) // 1_000_000
    assert made.tags == ("knightwatch", "halt", "server:R3", "id:h1:1")
    assert made.text.startswith("R3 sends children of full parents. Lost so far: USD 170,370.")
    assert 'href="http://desk/evidence/server:R3"' in made.text


def test_a_resume_says_who_opened() -> None:
    made = of_halt(halt("ACTIVE", 4), "RESUMING")
    assert made is not None
    assert made.tags[1] == "resume"
    assert "open again, by desk" in made.text


@pytest.mark.parametrize(
    ("state", "before"),
    [("WARNED", None), ("WARNED", "ACTIVE"), ("ACTIVE", "WARNED"), ("ACTIVE", None), ("RESUMING", "HALTED")],
)  # fmt: skip
def test_what_blocks_or_opens_nothing_needs_no_annotation(state: State, before: State | None) -> None:
    assert of_halt(halt(state, 2), before) is None


def test_a_probe_of_the_kill_path_needs_no_annotation() -> None:
    assert of_halt(halt("HALTING", 1, CANARY), None) is None
    assert of_halt(halt("ACTIVE", 3, CANARY), "HALTED") is None


def test_a_deploy_names_release_and_server() -> None:
    made = of_deploy(Declared(server="R3", ts=T0, release="RLP", build="2012-rlp", config="c1"))
    assert made.tags == ("knightwatch", "deploy", "server:R3", f"id:deploy:R3:{T0}")
    assert made.time_ms == T0 // 1_000_000
    assert "release RLP" in made.text


def test_a_story_is_told_once_and_in_order() -> None:
    story = Story()
    states: tuple[State, ...] = ("WARNED", "HALTING", "HALTED", "RESUMING", "ACTIVE")
    told = [take(story, halt(state, n)) for n, state in enumerate(states)]
    assert [[a.tags[1] for a in made] for made in told] == [[], ["halt"], ["halt"], [], ["resume"]]
    for n, state in enumerate(states):
        assert take(story, halt(state, n)) == [], "nothing that is not newer is told again"


def test_a_restart_tells_nothing_twice_and_misses_nothing() -> None:
    first = Story()
    tags = [tag for record in (halt("HALTING", 1), halt("HALTED", 2)) for a in take(first, record) for tag in a.tags]
    again = Story(tag for tag in tags if tag.startswith("id:"))
    assert take(again, halt("HALTED", 2)) == []
    later = Story(tag for tag in tags if tag.startswith("id:"))
    assert [a.tags[1] for a in take(later, halt("ACTIVE", 4))] == ["resume"], "compaction left only the end"
    assert take(Story(), halt("ACTIVE", 4)) == []


def test_a_new_generation_may_begin_at_a_low_epoch() -> None:
    story = Story()
    assert take(story, halt("HALTED", 9))
    assert take(story, halt("HALTING", 1, halt_id="h2", generation=1))
    assert take(story, halt("ACTIVE", 10)) == [], "the fenced desk tells no stories"


def test_what_cannot_be_read_is_counted_and_skipped() -> None:
    story = Story()
    assert story.take(HALTS, "server:R3", b"\xff not json") == []
    assert story.take(HALTS, "server:R3", b'{"v":1}') == []
    assert story.take(DECLARED, "R3", b"[]") == []
    assert story.unreadable == 3
    assert story.take(HALTS, "server:R3", None) == []
    assert story.take(HALTS, HEARTBEAT_KEY, encode(Heartbeat(ts=T0, seq=1))) == []
    assert story.unreadable == 3


# --- the thread, on a real Kafka --------------------------------------------------------------------------------------


@pytest.fixture
def topics(kafka_admin: KafkaAdminClient, topic_prefix: str) -> str:
    """Prefix under which halts and declared exist."""
    names = [topic_name(topic, topic_prefix) for topic in (HALTS, DECLARED)]
    kafka_admin.create_topics([NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact"}) for name in names])
    return topic_prefix


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    made = KafkaProducer(bootstrap_servers=kafka)
    yield made
    made.close(timeout=5)


def wait(until: Callable[[], bool], timeout_s: float = 60.0) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while not until():
        assert time.monotonic() - start < timeout_s, "did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def send(producer: KafkaProducer, topics: str, record: HaltRecord | Declared) -> None:
    topic, key = (HALTS, record.scope) if isinstance(record, HaltRecord) else (DECLARED, record.server)
    producer.send(topic_name(topic, topics), key=key.encode(), value=encode(record)).get(timeout=60)


def test_at_once_and_once_over_a_restart(kafka: str, topics: str, producer: KafkaProducer) -> None:
    stub = Stub()
    with serve(stub) as url:
        now = time.time_ns()
        send(producer, topics, Declared(server="R3", ts=now, release="RLP", build="b", config="c"))
        annotator = Annotator(kafka, Grafana(url, ADMIN), topics)
        annotator.start()
        wait(lambda: len(stub.annotations) == 1)
        record = halt("HALTING", 1)
        record = HaltRecord(**{f: getattr(record, f) for f in record.__struct_fields__} | {"ts_decided": now})
        send(producer, topics, record)
        assert wait(lambda: len(stub.annotations) == 2) <= AT_ONCE_S
        assert stub.annotations[1]["time"] == now // 1_000_000
        assert stub.annotations[1]["tags"][:2] == ["knightwatch", "halt"]
        annotator.stop()
        again = Annotator(kafka, Grafana(url, ADMIN), topics)
        again.start()
        send(producer, topics, halt("ACTIVE", 3))
        assert wait(lambda: len(stub.annotations) == 3) <= AT_ONCE_S
        again.stop()
    assert [a["tags"][1] for a in stub.annotations] == ["deploy", "halt", "resume"]
    assert again.trouble == ""


def test_grafana_away_delays_and_loses_nothing(kafka: str, topics: str, producer: KafkaProducer) -> None:
    stub = Stub()
    with serve(stub) as url:
        annotator = Annotator(kafka, Grafana(url, ADMIN), topics)
        annotator.start()
        stub.refuse["/annotations"] = (503, {"message": "database is locked"})
        send(producer, topics, halt("HALTING", 1))
        wait(lambda: "database is locked" in annotator.trouble)
        stub.refuse.clear()
        wait(lambda: len(stub.annotations) == 1)
        wait(lambda: annotator.trouble == "")
        stub.refuse["/annotations"] = (400, {"message": "too long"})
        send(producer, topics, halt("HALTED", 2))
        wait(lambda: annotator.refused == 1)
        stub.refuse.clear()
        send(producer, topics, halt("HALTING", 1, scope="firm", halt_id="h9"))
        wait(lambda: len(stub.annotations) == 2)
        annotator.stop()
    assert annotator.written == 2


def test_missing_topics_are_said_and_a_wrong_token_at_once(kafka: str, topic_prefix: str) -> None:
    with serve(Stub()) as url:
        with pytest.raises(PushError, match="GRAFANA_TOKEN"):
            Annotator(kafka, Grafana(url, "wrong"), topic_prefix).start()
        annotator = Annotator(kafka, Grafana(url, ADMIN), topic_prefix)
        annotator.start()
        wait(lambda: "run `knightwatch topics`" in annotator.trouble)
        annotator.stop()
