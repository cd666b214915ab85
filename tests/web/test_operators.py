"""Log-in: a name is proven by a key, and a key by its passphrase."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from halts.signing import private_text, public_text
from knightwatch.web.operators import LogInError, Operators, Sessions, write_key

WORDS = "correct horse battery"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_key(tmp_path / "keys", "ann", WORDS)
    return tmp_path / "keys"


def test_the_right_passphrase_gives_the_key_that_was_written(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = write_key(tmp_path / "k", "ann", WORDS, key)
    operator = Operators(tmp_path / "k", {"ann": public}).log_in(" ann ", WORDS)
    assert operator.name == "ann"
    assert public_text(operator.key.public_key()) == public == public_text(key.public_key())
    path = tmp_path / "k" / "ann.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "k", "ann", WORDS)


@pytest.mark.parametrize("name", ["ann", "bob", "../keys/ann", "ann.pem", "", "a" * 99, "ann\0"])
def test_what_does_not_belong_together_is_refused_in_the_same_words(folder: Path, name: str) -> None:
    with pytest.raises(LogInError, match="do not belong together"):
        Operators(folder).log_in(name, "wrong horse battery")


def test_guessing_costs_a_growing_pause_that_a_success_ends(folder: Path) -> None:
    clock = Clock()
    operators = Operators(folder, clock=clock)
    for _ in range(3):
        with pytest.raises(LogInError, match="belong together"):
            operators.log_in("ann", "no")
    with pytest.raises(LogInError, match="too many failed log-ins as 'ann': wait 2 s"):
        operators.log_in("ann", WORDS)
    clock.now = 2.1
    with pytest.raises(LogInError, match="belong together"):
        operators.log_in("ann", "no")
    with pytest.raises(LogInError, match="wait 4 s"):
        operators.log_in("ann", WORDS)
    clock.now = 6.2
    assert operators.log_in("ann", WORDS).name == "ann"
    with pytest.raises(LogInError, match="belong together"):
        operators.log_in("ann", "no")


def test_a_key_in_the_clear_proves_nothing(folder: Path) -> None:
    (folder / "bob.pem").write_bytes(private_text(Ed25519PrivateKey.generate()))
    with pytest.raises(LogInError, match="in the clear"):
        Operators(folder).log_in("bob", "")


def test_a_key_that_is_brought_must_be_the_configured_one(folder: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    operators = Operators(folder, {"bob": public_text(key.public_key())}, clock=Clock())
    assert operators.log_in("bob", "", private_text(key)).key_id
    with pytest.raises(LogInError, match="belong together"):
        operators.log_in("bob", "", private_text(other))
    with pytest.raises(LogInError, match="belong together"):  # nobody vouches for a name that is not configured
        operators.log_in("eve", "", private_text(other))
    with pytest.raises(LogInError, match="belong together"):
        operators.log_in("bob", "", b"\xff" * 10)


def test_a_kept_key_that_the_workers_do_not_know_is_refused(folder: Path) -> None:
    another = public_text(Ed25519PrivateKey.generate().public_key())
    with pytest.raises(LogInError, match="belong together"):
        Operators(folder, {"ann": another}).log_in("ann", WORDS)


def test_without_operators_it_says_how_to_have_them() -> None:
    with pytest.raises(LogInError, match="--operators FOLDER"):
        Operators(None).log_in("ann", "x")


@pytest.mark.parametrize(
    ("name", "words", "match"), [("a b", WORDS, "expected letters"), ("ann", "short", "at least 12")]
)
def test_a_bad_name_or_passphrase_writes_nothing(tmp_path: Path, name: str, words: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        write_key(tmp_path / "k", name, words)
    assert not (tmp_path / "k").exists()


def test_a_session_ends_without_use_and_at_log_out(folder: Path) -> None:
    clock = Clock()
    sessions, ann = Sessions(minutes=1, clock=clock), Operators(folder).log_in("ann", WORDS)
    sessions.start("s", ann)
    clock.now = 50
    assert sessions.operator("s", acts=True) is ann
    clock.now = 100
    assert sessions.operator("s") is ann, "looking does not lengthen it, the action did"
    clock.now = 111
    assert sessions.operator("s") is None
    sessions.start("s", ann)
    sessions.end("s")
    assert sessions.operator("s") is None
    assert sessions.operator("other") is None
