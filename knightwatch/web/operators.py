"""Who may act on the page: a person is known by a private key, and the key by a passphrase.

A folder holds ``ann.pem`` for operator ``ann`` (Ed25519 private key, PKCS #8, encrypted by the passphrase; never in the
clear). Who keeps the private key elsewhere brings the file at each log-in; it is good if its public key is the one that
stands in the configuration. What the page says for a person is signed with that person's key.
"""

import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from halts.signing import key_id, public_text

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
PASSPHRASE_CHARS_MIN: Final = 12
KEY_BYTES_MAX: Final = 8_192
FAILURES_FREE: Final = 3
PAUSE_S: Final = 2.0
"""After the free failures each further one doubles the pause, from this up to PAUSE_S_MAX."""
PAUSE_S_MAX: Final = 60.0
FAILURES_KEPT: Final = 1_000
SESSIONS_MAX: Final = 500


class LogInError(ValueError):
    """A log-in that failed. The message tells the person no more than they may know."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who proved to hold the key. ``key`` lives in memory only, as long as the session."""

    name: str
    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """The name of the key, as it stands in signed records."""
        return key_id(self.key.public_key())


class Operators:
    """The folder of operators' keys. registered: operator -> public key, as configured. clock: monotonic seconds.

    A wrong passphrase costs a growing pause per name, so that guessing does not pay; the key derivation is slow anyway.
    """

    def __init__(
        self,
        folder: Path | None,
        registered: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._clock = folder, clock
        self._registered = dict(registered or {})
        self._failures: dict[str, tuple[int, float]] = {}

    def names(self) -> list[str]:
        """Operators who could log in."""
        kept = self.folder.glob("*.pem") if self.folder is not None else ()
        return sorted({*self._registered, *(p.stem for p in kept if NAME.fullmatch(p.stem))})

    def log_in(self, name: str, passphrase: str, key_file: bytes | None = None) -> Operator:
        """The operator ``name``. key_file: the private key that the person brought. Raises LogInError."""
        name = name.strip()
        left_s = self._failures.get(name, (0, 0.0))[1] - self._clock()
        if left_s > 0:
            raise LogInError(f"too many failed log-ins as {name!r}: wait {left_s:.0f} s")
        try:
            found = self._prove(name, passphrase, key_file)
        except LogInError:
            self._failed(name)
            raise
        self._failures.pop(name, None)
        return found

    def _prove(self, name: str, passphrase: str, key_file: bytes | None) -> Operator:
        wrong = LogInError("this name, passphrase and key do not belong together")
        if not self.names():
            raise LogInError("this desk has no operators: start it with --operators FOLDER (see docs/desk.md)")
        if not NAME.fullmatch(name):
            raise wrong
        text = self._kept(name, wrong) if key_file is None else key_file
        key = _private(text, passphrase, wrong)
        configured = self._registered.get(name)
        if configured is None and (key_file is not None or self._registered):
            raise wrong  # nobody vouches for the key that was brought, or the workers would refuse this operator
        if configured is not None and not hmac.compare_digest(configured, public_text(key.public_key())):
            raise wrong
        return Operator(name, key)

    def _kept(self, name: str, wrong: LogInError) -> bytes:
        """The encrypted key in the folder."""
        path = self.folder / f"{name}.pem" if self.folder is not None else None
        if path is None or not path.is_file():
            raise wrong
        text = path.read_bytes()
        if b"ENCRYPTED" not in text:
            raise LogInError(
                f"the key of {name} lies here in the clear, so it proves nothing: encrypt it with 'knightwatch desk-key'"
            )
        return text

    def _failed(self, name: str) -> None:
        count = self._failures.get(name, (0, 0.0))[0] + 1
        beyond = count - FAILURES_FREE
        pause_s = min(PAUSE_S * 2**beyond, PAUSE_S_MAX) if beyond >= 0 else 0.0
        if name not in self._failures and len(self._failures) >= FAILURES_KEPT:
            self._failures.pop(next(iter(self._failures)))
        self._failures[name] = (count, self._clock() + pause_s)


def _private(text: bytes, passphrase: str, wrong: LogInError) -> Ed25519PrivateKey:
    if len(text) > KEY_BYTES_MAX:
        raise wrong
    password = passphrase.encode() if b"ENCRYPTED" in text else None
    try:
        key = load_pem_private_key(text, password=password or None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise wrong from None
    if not isinstance(key, Ed25519PrivateKey):
        raise wrong
    return key


def write_key(folder: Path, name: str, passphrase: str, key: Ed25519PrivateKey | None = None) -> str:
    """Write ``name.pem``, encrypted; returns the public key for the configuration of the workers. ValueError says what
    is wrong with name or passphrase; FileExistsError if the operator is there already."""
    if not NAME.fullmatch(name):
        raise ValueError(f"operator {name!r}: expected letters, digits, '.', '_' or '-', at most 32")
    if len(passphrase) < PASSPHRASE_CHARS_MIN:
        raise ValueError(f"the passphrase has {len(passphrase)} characters; expected at least {PASSPHRASE_CHARS_MIN}")
    key = key or Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.pem"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return public_text(key.public_key())


class Sessions:
    """Who is logged in, by the id in a browser's signed cookie. minutes: how long without an action."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s, self._clock = minutes * 60, clock
        self._found: dict[str, tuple[Operator, float]] = {}

    def start(self, session_id: str, operator: Operator) -> None:
        """``operator`` sits at this browser from now on."""
        while len(self._found) >= SESSIONS_MAX:
            self._found.pop(next(iter(self._found)))
        self._found[session_id] = (operator, self._clock() + self._idle_s)

    def operator(self, session_id: str, acts: bool = False) -> Operator | None:
        """Who sits there, or None. acts: counts as use, so that the session lasts on."""
        operator, until = self._found.get(session_id, (None, 0.0))
        if operator is None or self._clock() >= until:
            self._found.pop(session_id, None)
            return None
        if acts:
            self._found[session_id] = (operator, self._clock() + self._idle_s)
        return operator

    def end(self, session_id: str) -> None:
        """Log out; the key is forgotten."""
        self._found.pop(session_id, None)


def new_secret() -> str:
    """A secret for signing cookies; with a new one, everybody is logged out."""
    return secrets.token_urlsafe(32)
