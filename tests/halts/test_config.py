"""Configuration: defaults stand in the file, wrong values are named."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from halts.config import Config, ConfigError, DeskConfig, Rule, keys, parse
from halts.config_keys import flatten

DEFAULT = Path(__file__).parents[2] / "config" / "default.toml"


def test_default_file_repeats_every_default() -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    assert parse(text, "default.toml") == Config()
    missing = set(keys(Config())) - set(flatten(tomllib.loads(text)))
    assert not missing, f"config/default.toml does not have {sorted(missing)}"


def test_every_plain_setting_of_the_default_file_has_a_comment() -> None:
    in_rules = False
    for line in DEFAULT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            in_rules = line.startswith("[desk.rules")
        elif re.match(r"[a-z]\w* = ", line) and not in_rules:
            assert re.search(r"  # \S", line), f"no comment: {line}"


def test_empty_text_is_the_default() -> None:
    assert parse("", "empty") == Config()


def test_rules_merge_one_by_one() -> None:
    config = parse('[desk.rules.rate]\nstatistical = "halt"\n[desk.rules.rate_ms]\ngroup = "fast"\n', "x").desk
    assert config.rule("cusum", "rate") == Rule(statistical="halt", group="volume", flow=True, common=True)
    assert config.rule("rate_ms", "rate").group == "fast", "a rule for a detector goes before that of its family"
    assert config.rule("x", "crossing") == DeskConfig().rule("x", "crossing")
    assert config.rule("x", "not listed") == Rule()


@pytest.mark.parametrize(
    ("text", "key", "found", "expected"),
    [
        ('[desk]\nack_timeout_ms = "x"', "desk.ack_timeout_ms", "'x'", "`int`"),
        ("[desk]\nack_timeout_ms = -4", "desk.ack_timeout_ms", "-4", "`int` >= 0"),
        ('[desk]\naction = "stop"', "desk.action", "'stop'", "one of block_and_cancel, block, reduce_only"),
        ('[desk.rules.rate]\nhard = "stop"', "desk.rules.rate.hard", "'stop'", "one of halt, combine, warn, ignore"),
        ('[desk]\ntwo_person_scopes = ["sever"]', "desk.two_person_scopes[0]", "'sever'", "one of firm, server"),
        ("desk = 3", "desk", "3", "`object`"),
        ("[desk.rules]\nrate = 3", "desk.rules.rate", "3", "`object`"),
        ("[gate]\nfail_closed_after_ms = 500", "gate.fail_closed_after_ms", "500", "more than desk.ack_timeout_ms"),
        ('[kafka]\nprefix = "a/b"', "kafka.prefix", "'a/b'", "`str` matching regex"),
        ("[stage1]\norders_max = 1.5", "stage1.orders_max", "1.5", "`int`"),
    ],
)
def test_wrong_value_is_named(text: str, key: str, found: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "desk.toml")
    message = str(caught.value)
    assert message.startswith(f"desk.toml: {key}: found {found}, expected {expected}"), message
    assert (caught.value.source, caught.value.key) == ("desk.toml", key)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[desk]\nack_timeout = 5", "desk.ack_timeout", "desk.ack_timeout_ms"),
        ("[dsk]\n", "dsk", "desk"),
        ('[desk.rules.rate]\nhrd = "halt"', "desk.rules.rate.hrd", "desk.rules.rate.hard"),
    ],
)
def test_unknown_key_gets_a_suggestion(text: str, key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}'") as caught:
        parse(text, "desk.toml")
    assert caught.value.key == key


def test_unknown_key_without_a_near_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown key .* remove it"):
        parse("[desk]\nzzz = 1", "x")


def test_broken_toml_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"x.toml: found invalid TOML .*line 2"):
        parse("[desk]\naction = \n", "x.toml")


def test_config_survives_plain_data() -> None:
    assert msgspec.convert(msgspec.to_builtins(Config()), Config) == Config()
