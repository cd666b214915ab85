"""Whose word on ``halts`` counts: signatures (Ed25519) checked against keys that the gate was given. Pure.

Two kinds of keys. A desk's may say everything. An operator's may only close: the halt that is written straight to
``halts`` when every worker is dead. Nothing that an operator's key signed opens a gate, fences a desk or beats for it.
"""

from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from halts.signing import key_id, read_public, verify
from schemas.records import HaltRecord, Heartbeat


class Trust:
    """desk_keys: public keys as ``knightwatch keys show`` prints them; with none, nothing is checked. operators: name ->
    public key of those who may halt. audience: the name of the fleet (``desk.audience``).

    Raises halts.signing.BadKey, ValueError for operators without a desk.
    """

    def __init__(
        self, desk_keys: Iterable[str] = (), operators: Mapping[str, str] | None = None, audience: str = ""
    ) -> None:
        self._desks = _by_id(desk_keys)
        self._names = {key_id(read_public(text)): name for name, text in (operators or {}).items()}
        self._keys = {**_by_id((operators or {}).values()), **self._desks}
        self._audience = audience
        if both := self._desks.keys() & self._names.keys():
            raise ValueError(
                f"key {sorted(both)[0]} is a desk's and an operator's; expected different ones: an operator may only close"
            )

    @property
    def required(self) -> bool:
        """Must every record be signed?"""
        return bool(self._desks)

    def problem(self, record: HaltRecord | Heartbeat, generation: int) -> str:
        """Why ``record`` does not count; empty if it does. generation: the highest of a desk that was believed."""
        if not self.required:
            return ""
        if (wrong := verify(record, self._keys, self._audience)) is not None:
            return wrong
        if record.key_id in self._desks:
            return ""
        name = self._names[record.key_id]
        if isinstance(record, Heartbeat) or record.state != "HALTING" or record.action == "reduce_only":
            return f"it is signed by the operator {name!r}, whose key may only halt; expected the desk's"
        if record.by != name:
            return f"it says to be by {record.by!r}, but the key is that of {name!r}"
        if record.generation > generation:
            return (
                f"it is signed by the operator {name!r}, but claims generation {record.generation} of a desk; "
                f"expected at most {generation}"
            )
        return ""


def _by_id(texts: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    keys = [read_public(text) for text in texts]
    return {key_id(key): key for key in keys}
