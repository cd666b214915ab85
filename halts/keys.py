"""Who may order what: operators, their public keys and their roles, as they stand in the configuration."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from halts.signing import Keys, key_id, read_public, verify
from schemas.records import Command
from schemas.scopes import parse

Role = Literal["halt", "drill", "resume", "approve", "config", "break_glass"]
"""``halt``, ``drill``, ``resume`` (ask), ``approve`` (agree), ``config`` (propose settings): the verbs of a command;
``break_glass``: to reopen alone what otherwise needs two."""


class Operator(Struct, frozen=True, forbid_unknown_fields=True):
    """A person. The private key stays with them; nothing here is secret."""

    public_key: Annotated[str, Meta(min_length=1, max_length=200)]
    """Base64 of the 32 bytes of an Ed25519 key, as ``knightwatch keys show`` prints it."""
    roles: tuple[Role, ...] = ("halt",)
    owns: tuple[str, ...] = ()
    """Scopes whose trading is theirs: a halt that comes from one of these they may neither resume nor approve."""


class Ring:
    """The keys of all operators. Raises ValueError for operators that could not work.

    audience: see halts.signing.
    """

    def __init__(self, operators: Mapping[str, Operator], audience: str = "") -> None:
        self._audience = audience
        self._operators = dict(operators)
        self._keys: dict[str, str] = {}
        public = {}
        for name, operator in operators.items():
            try:
                key = read_public(operator.public_key)
                for owned in operator.owns:
                    parse(owned)
            except ValueError as error:
                raise ValueError(f"operator {name!r}: {error}") from error
            id_ = key_id(key)
            if (other := self._keys.get(id_)) is not None:
                raise ValueError(f"operators {other!r} and {name!r} have the same key; expected a key for each person")
            self._keys[id_] = name
            public[id_] = key
        self._public: Keys = public

    @property
    def keys(self) -> Keys:
        """Key id -> public key, of everybody."""
        return self._public

    def name(self, id_: str) -> str | None:
        """Whose key it is."""
        return self._keys.get(id_)

    def problem(self, command: Command) -> str | None:
        """Why ``command`` is not the word of an operator who may say it; None if it is."""
        if (wrong := verify(command, self._public, self._audience)) is not None:
            return wrong
        name = self._keys[command.key_id]
        if command.by != name:
            return f"it says to be by {command.by!r}, but the key is that of {name!r}: sign with your own key"
        role: Role = "break_glass" if command.emergency else command.verb
        if role not in self._operators[name].roles:
            roles = ", ".join(self._operators[name].roles) or "none"
            return f"{name} may not {ROLE_WORDS[role]}: the roles of {name} are {roles}"
        return None


ROLE_WORDS: Final[Mapping[Role, str]] = {
    "halt": "halt",
    "drill": "order a drill",
    "resume": "ask for a resume",
    "approve": "approve",
    "config": "propose settings",
    "break_glass": "reopen alone (break-glass)",
}


def release_problem(operators: Mapping[str, Operator]) -> str | None:
    """Why a halt of the firm might never be reopened with these operators; None if it can be, or if there are none
    (then commands are not signed). A latch that nobody can release is a failure as well. Those who own a scope do not
    count: the halt may be about it."""
    if not operators:
        return None
    free = {name: operator.roles for name, operator in operators.items() if not operator.owns}
    ask = sorted(name for name, roles in free.items() if "resume" in roles)
    agree = sorted(name for name, roles in free.items() if "approve" in roles)
    if any("break_glass" in roles for roles in free.values()) or any(a != b for a in ask for b in agree):
        return None
    return (
        f"a halt that nobody could reopen: of the operators who own no scope, {', '.join(ask) or 'nobody'} may ask "
        f"(resume) and {', '.join(agree) or 'nobody'} agree (approve); expected two different people, or one with "
        "break_glass"
    )
