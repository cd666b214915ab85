"""What a worker says when the broker is away: once, clearly, and without drowning in its clients' words."""

import logging

import pytest

from streams.worker import Calm, wait_for_broker


def record(name: str, text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, args, None)


def test_calm() -> None:
    now = [0.0]
    calm = Calm(5.0, lambda: now[0])
    assert calm.filter(record("aiokafka", "no node %s", 1))
    assert not calm.filter(record("aiokafka", "no node %s", 2)), "the same place again"
    assert calm.filter(record("aiokafka", "something else"))
    assert calm.filter(record("streams.desk", "no node %s", 1))
    assert calm.filter(record("streams.desk", "no node %s", 1)), "ours are never held back"
    now[0] = 5.0
    assert calm.filter(record("aiokafka", "no node %s", 3))


def test_waits_and_says_what_to_do() -> None:
    said: list[str] = []

    class Enough(Exception):
        pass

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            raise Enough

    with pytest.raises(Enough):
        wait_for_broker("127.0.0.1:1", say)
    assert "no Kafka at 127.0.0.1:1" in said[0]
    assert "0.5 s" in said[0]
    assert "1 s" in said[1]
    assert "`knightwatch broker`" in said[0]
