"""What every test may ask for: a real Apache Kafka, started once a session, and a prefix of one's own on it.

A test that takes the fixture ``kafka`` gets the marker ``kafka`` by itself: ``pytest -m "not kafka"`` needs no broker.
``KNIGHTWATCH_TEST_BOOTSTRAP=H:P`` uses another cluster instead of the embedded one.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from kafka import KafkaAdminClient

from knightwatch.broker import EmbeddedKafka
from tests.longest import LONGEST

# laws, not stopwatches: a noisy machine must not fail one; the same examples every time
settings.register_profile("knightwatch", deadline=None, derandomize=True)
settings.load_profile("knightwatch")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """``host:port`` of a running broker. Topics are not made by using them: create what you need."""
    other = os.environ.get("KNIGHTWATCH_TEST_BOOTSTRAP")
    if other:
        yield other
        return
    with EmbeddedKafka() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def kafka_admin(kafka: str) -> Iterator[KafkaAdminClient]:
    """An admin client of the session's broker."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    yield admin
    admin.close()


@pytest.fixture
def topic_prefix(kafka_admin: KafkaAdminClient) -> Iterator[str]:
    """A prefix that no other test uses. Topics that carry it are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    yield prefix
    left = [name for name in kafka_admin.list_topics() if name.startswith(prefix)]
    if left:
        kafka_admin.delete_topics(left)
