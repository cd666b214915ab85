"""Signatures: what was signed verifies, what was changed in any field does not, and old signatures outlive new fields."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from halts import signing
from schemas.records import Cause, Command, FirstEvent, HaltRecord, Heartbeat, Money, decode, encode

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = {signing.key_id(KEY.public_key()): KEY.public_key()}
COMMAND = Command("c1", 5, "resume", "server:R3", "fixed", "ann", "h1", 3)
HALT = HaltRecord(
    "h1", 3, "server:R3", "HALTING", "block_and_cancel", 5, 6,
    (Cause("rate", 12.5, 8.0, 1.5, {"window_ms": 100, "per_s": 1e22}, FirstEvent("orderflow", 3, 17, 5, "R3-1", 2)),),
    "R3 …", Money(1.5), "desk", 4,
)  # fmt: skip
RECORDS = (COMMAND, HALT, Heartbeat(5, 1, 4))


@pytest.mark.parametrize("record", RECORDS)
def test_signed_record_verifies_after_kafka_and_only_with_its_key_and_audience(record: Any) -> None:
    signed = signing.sign(record, KEY, "fleet")
    read = decode(encode(signed), type(record))
    assert signing.verify(read, KEYS, "fleet") is None
    assert signing.sign(read, KEY, "fleet") == read, "the same record and key give the same bytes"
    assert "another fleet" in (signing.verify(read, KEYS, "test") or "")
    assert "not configured here" in (signing.verify(read, {}, "fleet") or "")
    assert "is not signed" in (signing.verify(record, KEYS, "fleet") or "")
    forged = msgspec.structs.replace(signing.sign(record, OTHER, "fleet"), key_id=read.key_id)
    assert "is wrong" in (signing.verify(forged, KEYS, "fleet") or "")


@pytest.mark.parametrize("record", RECORDS)
def test_a_change_of_any_field_is_seen(record: Any) -> None:
    signed = signing.sign(record, KEY)
    for field in msgspec.structs.fields(record):
        if field.name == "signature":
            continue
        value = getattr(signed, field.name)
        other: Any = {bool: not value, int: 99, float: 9.5, str: "x", tuple: (7,), dict: {"a": 1}}.get(
            type(value), Money(7.0)
        )
        assert other != value
        assert signing.verify(msgspec.structs.replace(signed, **{field.name: other}), KEYS) is not None, field.name


@given(st.binary(max_size=80), st.text(max_size=80))
@settings(max_examples=50, deadline=None)
def test_garbage_for_a_signature_is_wrong_and_never_raises(junk: bytes, text: str) -> None:
    signed = signing.sign(COMMAND, KEY)
    for junk_text in (junk.decode("latin-1"), text, signed.signature + "A", signed.signature[:-4]):
        assert signing.verify(msgspec.structs.replace(signed, signature=junk_text), KEYS) is not None


def test_a_field_added_later_leaves_old_signatures_valid_and_an_unknown_one_does_not() -> None:
    signed = signing.sign(COMMAND, KEY)
    assert b"values" not in signing.canonical(signed), "what has its default is not signed over"
    later = signing.sign(msgspec.structs.replace(COMMAND, emergency=True), KEY)
    older_reader = msgspec.structs.replace(later, emergency=False)  # it drops what it does not know
    assert signing.verify(older_reader, KEYS) is not None


def test_a_command_is_never_taken_for_another_kind_of_record() -> None:
    beat = signing.sign(Heartbeat(5, 1), KEY)
    as_other = msgspec.structs.replace(Heartbeat(5, 1), key_id=beat.key_id, signature=beat.signature)
    assert signing.verify(as_other, KEYS) is None
    names = {signing.canonical(record).split(b"\n")[1] for record in RECORDS}
    assert names == {b"Command", b"HaltRecord", b"Heartbeat"}


def test_keys_as_text() -> None:
    assert signing.key_id(signing.read_public(signing.public_text(KEY.public_key()))) in KEYS
    assert signing.read_private(signing.private_text(KEY)).private_bytes_raw() == bytes(range(32))
    with pytest.raises(signing.BadKey, match="expected base64 of 32 bytes"):
        signing.read_public("AAAA")
    with pytest.raises(signing.BadKey, match="knightwatch keys new") as bad:
        signing.read_private(b"hunter2")
    assert "hunter2" not in str(bad.value)
