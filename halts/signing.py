"""Ed25519 signatures (RFC 8032) of commands, halt records and heartbeats.

Signed is the record without its ``signature``, as canonical bytes: the name of its kind, the audience (which fleet it is
meant for, so that a command recorded in a test fleet is worth nothing in another) and its fields as JSON with sorted
keys. Fields that have their default are left out, so that a record signed before a field was added still verifies; a
field that the reader does not know makes the signature wrong, which refuses. Signing is deterministic: the same record
and key give the same bytes.
"""

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo

from schemas.records import Command, HaltRecord, Heartbeat

Signed = TypeVar("Signed", bound=Command | HaltRecord | Heartbeat)
Keys = Mapping[str, Ed25519PublicKey]
"""Key id -> public key."""

KEY_BYTES: Final = 32
KEY_ID_CHARS: Final = 16
_DOMAIN: Final = b"knightwatch signed record 1\n"
_encoder: Final = msgspec.json.Encoder(order="sorted")


class BadKey(ValueError):
    """A key that is none; the message says what was found, what was expected and what to do."""


def sign(record: Signed, key: Ed25519PrivateKey, audience: str = "") -> Signed:
    """``record`` with ``key_id`` and ``signature`` filled in (base64 of 64 bytes)."""
    named = msgspec.structs.replace(record, key_id=key_id(key.public_key()), signature="")
    signature = base64.b64encode(key.sign(canonical(named, audience))).decode()
    return msgspec.structs.replace(named, signature=signature)


def verify(record: Command | HaltRecord | Heartbeat, keys: Keys, audience: str = "") -> str | None:
    """What is wrong with the signature of ``record``; None if one of ``keys`` made it."""
    kind = type(record).__name__
    if not record.signature:
        return f"{kind} is not signed; expected the signature of a key that is configured here"
    key = keys.get(record.key_id)
    if key is None:
        return f"{kind} is signed by key {record.key_id[:64]!r}, which is not configured here; add it, or sign with another"
    try:
        key.verify(base64.b64decode(record.signature, validate=True), canonical(record, audience))
    except (InvalidSignature, binascii.Error, ValueError):
        return f"the signature of {kind} by key {record.key_id} is wrong: it was changed, or signed for another fleet"
    return None


def canonical(record: Command | HaltRecord | Heartbeat, audience: str = "") -> bytes:
    """The bytes that are signed."""
    fields = _without_defaults(msgspec.structs.replace(record, signature=""))
    kind = type(record).__name__.encode()
    return b"".join((_DOMAIN, kind, b"\n", _encoder.encode(audience), b"\n", _encoder.encode(fields)))


def _without_defaults(value: Any) -> Any:
    """Plain data, structs without the fields that have their default."""
    if isinstance(value, Struct):
        fields = ((f, getattr(value, f.name)) for f in msgspec.structs.fields(value))
        return {f.encode_name: _without_defaults(found) for f, found in fields if found != _default(f)}
    if isinstance(value, dict):
        return {key: _without_defaults(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [_without_defaults(found) for found in value]
    return value


def _default(field: FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def key_id(public: Ed25519PublicKey) -> str:
    """The name of a key: the first 16 hex digits of the SHA-256 of its 32 bytes."""
    return sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:KEY_ID_CHARS]


def public_text(public: Ed25519PublicKey) -> str:
    """The form in which a public key stands in the configuration: base64 of its 32 bytes."""
    return base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def read_public(text: str) -> Ed25519PublicKey:
    """The key of ``public_text``. Raises BadKey."""
    try:
        raw = base64.b64decode(text, validate=True)
        if len(raw) != KEY_BYTES:
            raise ValueError(f"{len(raw)} bytes")
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:  # binascii.Error is one
        raise BadKey(
            f"public key {text[:64]!r} is none ({error}); expected base64 of {KEY_BYTES} bytes as 'knightwatch keys show' "
            "prints it"
        ) from error


def private_text(key: Ed25519PrivateKey) -> bytes:
    """PEM (PKCS #8, not encrypted), as OpenSSL reads and writes it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private(text: bytes) -> Ed25519PrivateKey:
    """The key of ``private_text``. Raises BadKey, whose message holds nothing of the text."""
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(
            "the private key does not read as PEM without a password; make one with 'knightwatch keys new', or "
            "'openssl genpkey -algorithm ed25519'"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"the private key is of kind {type(key).__name__}; expected Ed25519")
    return key
