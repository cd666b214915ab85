"""A real Kafka with TLS, SCRAM users and StandardAuthorizer; topics and permissions made by ``knightwatch topics``."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from halts.gate_security import client_options
from knightwatch.broker import EmbeddedKafka
from knightwatch.broker_security import ADMIN, ROLES, BrokerSecurity
from knightwatch.cli import run

USERS = (*ROLES, "stranger")


@dataclass
class Secured:
    """The broker, and how each user connects to it."""

    kafka: EmbeddedKafka
    folder: Path
    _options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap

    def options(self, user: str) -> dict[str, Any]:
        assert self.kafka.security is not None
        if user not in self._options:
            self._options[user] = client_options(self.kafka.security.of(user))
        return self._options[user]

    def toml(self, user: str, more: str = "") -> Path:
        """A configuration file for ``user``; what follows ``[kafka]`` in it is in ``more``."""
        assert self.kafka.security is not None
        path = self.folder / f"{user}.toml"
        text = self.kafka.security.toml(user, self.bootstrap)
        path.write_text(text.replace("[kafka]\n", "[kafka]\npartitions = 2\n") + more)
        return path

    def password(self, user: str) -> str:
        assert self.kafka.security is not None
        return (self.kafka.security.folder / f"{user}.password").read_text().strip()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if os.environ.get("KNIGHTWATCH_TEST_BOOTSTRAP"):
        pytest.skip("needs a broker that it may lock: the embedded one")
    with EmbeddedKafka(security=BrokerSecurity(USERS)) as kafka:
        found = Secured(kafka, tmp_path_factory.mktemp("secured"))
        assert run(["topics", "--acls", "--config", str(found.toml(ADMIN))]) == 0
        yield found


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "secured" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
