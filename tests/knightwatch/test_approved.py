"""A worker with settings other than the approved ones does not start."""

import pytest

from halts.changes import digest, settings_of
from halts.config import Config, ConfigError, parse
from knightwatch.approved import must_be_approved
from schemas.records import Heartbeat, encode
from schemas.topics import HEARTBEAT_KEY
from streams.halts_log import HaltsLog


def told(version: int, config: Config) -> HaltsLog:
    log = HaltsLog()
    name = digest(settings_of(config)) if version else ""
    log.feed(0, HEARTBEAT_KEY.encode(), encode(Heartbeat(5, 1, 1, config_version=version, config_digest=name)))
    return log


def test_only_what_was_approved_starts() -> None:
    base, loose = Config(), parse("[desk]\nack_timeout_ms = 900", "x")
    must_be_approved(loose, HaltsLog())
    must_be_approved(loose, told(0, base))
    must_be_approved(base, told(3, base))
    moved = parse('[kafka]\nbootstrap = "elsewhere:9092"', "x")
    must_be_approved(moved, told(3, base))
    with pytest.raises(ConfigError, match=r"expected version 3, digest .* which is approved; see 'knightwatch config"):
        must_be_approved(loose, told(3, base))
