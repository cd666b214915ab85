"""Who gives a command: the operator whose key signs it, or the name that was given where no operators are configured."""

import getpass
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halts.config import Config, trust_of
from halts.keys import Ring
from halts.signing import key_id
from knightwatch import private_key
from knightwatch.config import kafka_options
from knightwatch.desk_client import DeskClient


@dataclass(frozen=True, slots=True)
class Person:
    """An operator. ``key`` is None where commands are not signed."""

    name: str
    key: Ed25519PrivateKey | None


def sign_on(config: Config, key: Path | None, by: str) -> Person:
    """The person behind ``key`` (else the environment's, else that of the name ``by``, else of the login name).

    Raises ValueError if nobody is named, or if operators are configured and this is none of them.
    """
    named = by.strip() or _login()
    found = private_key.find(key, named)
    operators = config.desk.operators
    if not operators:
        if not named:
            raise ValueError("nobody is named as the operator; give your name with --by")
        return Person(named, found)
    if found is None:
        raise ValueError(
            f"commands must be signed, and there is no private key of {named or 'yours'}: give --key FILE, set "
            f"{private_key.KEY_FILE_VARIABLE}, or make one with 'knightwatch keys new'"
        )
    id_ = key_id(found.public_key())
    name = Ring(operators, config.desk.audience).name(id_)
    if name is None:
        raise ValueError(
            f"key {id_} is that of no operator in this configuration ({', '.join(sorted(operators))}); check --config, "
            "or have the key added"
        )
    if by.strip() and by.strip() != name:
        raise ValueError(f"--by says {by.strip()!r}, but the key is that of {name!r}: sign with your own key")
    return Person(name, found)


def connect(config: Config, person: Person | None = None) -> DeskClient:
    """A connection for ``person``; None: to look only. Raises DeskError."""
    return DeskClient(
        config.kafka.bootstrap,
        config.kafka.prefix,
        fail_closed_after_ms=config.gate.fail_closed_after_ms,
        clock_skew_ms_max=config.gate.clock_skew_ms_max,
        kafka=kafka_options(config),
        key=person.key if person else None,
        audience=config.desk.audience,
        trust=trust_of(config),
    )


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
