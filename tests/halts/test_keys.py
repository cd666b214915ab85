"""Operators: whose word counts, and sets of operators that could not work."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from halts import signing
from halts.config import ConfigError, parse
from halts.keys import Operator, Ring, release_problem
from schemas.records import Command

ANN, BOB, EVE = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))


def public(key: Ed25519PrivateKey) -> str:
    return signing.public_text(key.public_key())


RING = Ring(
    {
        "ann": Operator(public(ANN), ("halt", "resume")),
        "bob": Operator(public(BOB), ("approve",)),
        "eve": Operator(public(EVE), ("resume", "break_glass")),
    },
    "fleet",
)
SAID = Command("c1", 5, "resume", "server:R3", "fixed", "ann", "h1", 3)


def problem(command: Command, key: Ed25519PrivateKey, audience: str = "fleet") -> str:
    return RING.problem(signing.sign(command, key, audience)) or ""


def test_who_may_say_what() -> None:
    assert problem(SAID, ANN) == ""
    assert "is not signed" in (RING.problem(SAID) or "")
    assert "another fleet" in problem(SAID, ANN, "test fleet")
    assert "the key is that of 'bob'" in problem(SAID, BOB), "bob may not speak as ann"
    assert "bob may not ask for a resume: the roles of bob are approve" in problem(replace(SAID, by="bob"), BOB)
    assert "ann may not reopen alone" in problem(replace(SAID, emergency=True), ANN)
    assert problem(replace(SAID, by="eve", emergency=True), EVE) == ""
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert "not configured here" in problem(SAID, stranger)


def test_operators_that_cannot_work_are_refused_with_the_reason() -> None:
    same = {"ann": Operator(public(ANN)), "bob": Operator(public(ANN))}
    with pytest.raises(ValueError, match="'ann' and 'bob' have the same key"):
        Ring(same)
    with pytest.raises(ValueError, match="operator 'ann': public key 'AAAA' is none"):
        Ring({"ann": Operator("AAAA")})
    with pytest.raises(ValueError, match="operator 'ann': scope 'mars'"):
        Ring({"ann": Operator(public(ANN), owns=("mars",))})


@pytest.mark.parametrize(
    ("ann", "bob", "releasable"),
    [
        (("resume",), ("approve",), True),
        (("resume", "approve"), ("halt",), False),  # nobody approves himself
        (("resume", "approve"), ("resume", "approve"), True),
        (("resume",), ("resume",), False),
        (("halt",), ("break_glass",), True),
        ((), (), False),
    ],
)
def test_a_latch_that_nobody_could_release_is_no_configuration(
    ann: tuple[str, ...], bob: tuple[str, ...], releasable: bool
) -> None:
    roles = {"ann": Operator(public(ANN), ann), "bob": Operator(public(BOB), bob)}  # type: ignore[arg-type]
    assert (release_problem(roles) is None) is releasable
    owner = {**roles, "ann": Operator(public(ANN), ann, ("strategy:X",))}  # type: ignore[arg-type]
    assert (release_problem(owner) is None) is ("break_glass" in bob), "a halt of the strategy would be stuck"
    text = "\n".join(
        f'[desk.operators.{name}]\npublic_key = "{o.public_key}"\nroles = {list(o.roles)}' for name, o in roles.items()
    )
    if releasable:
        assert set(parse(text, "x.toml").desk.operators) == {"ann", "bob"}
        return
    with pytest.raises(ConfigError, match=r"x.toml: desk.operators: found a halt that nobody could reopen"):
        parse(text, "x.toml")


def test_without_operators_nothing_is_signed() -> None:
    assert release_problem({}) is None
