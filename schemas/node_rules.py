"""What a ``nodes`` or ``declared`` record must keep besides its types; broken, it goes to dead letters."""

from typing import Final

from schemas.codec_rules import Reason
from schemas.records import Declared, NodeState
from schemas.units import TS_NS_MAX, TS_NS_MIN

SERVER_LENGTH_MAX: Final = 16


def problem(record: NodeState | Declared) -> tuple[Reason, str] | None:
    """Reason and what was found and expected; None when nothing is wrong."""
    if record.v != 1:
        return Reason.wrong_version, f"v is {record.v}; expected 1"
    if not 0 < len(record.server) <= SERVER_LENGTH_MAX:
        return Reason.oversized_field, f"server is {record.server!r}; expected 1 to {SERVER_LENGTH_MAX} characters"
    if not TS_NS_MIN <= record.ts <= TS_NS_MAX:
        return Reason.out_of_range, f"ts is {record.ts}; expected ns UTC between 1990 and 2100"
    return None
