"""What every stage-1 detector is: the protocol that the server engine and the laws (detectors/checks.py) rely on."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from detectors.arrays import I64
from detectors.children import ChildFlow, Children
from detectors.excursion import Excursion, Finding
from detectors.flow import Flow
from detectors.positions import Positions, SymbolFlow
from schemas.records import Family

BOUNDLESS: Final = 1 << 62


@dataclass(slots=True)
class Context:
    """What a detector sees of a flow (n events): columns, child and symbol passes, totals (n + 1, k)."""

    flow: Flow
    child: ChildFlow
    symbol: SymbolFlow
    totals: I64
    children: Children
    positions: Positions
    walked: bool = False
    """The compiled loops of the catalogue have run over this flow: ``step`` only says what they found."""


class Detector(Protocol):
    """One statistic of one server. Deterministic, no clock; int64 sums, so that batch cuts do not matter."""

    name: ClassVar[str]
    family: ClassVar[Family]
    hard: ClassVar[bool]
    """A broken invariant, which halts alone."""
    excursion: Excursion

    @property
    def bound_halt(self) -> float:
        """Score beyond which even a statistical detector halts alone; 0 for never."""

    def step(self, context: Context) -> list[Finding]:
        """Score a flow, then remember it."""

    def score(self, value: int) -> float:
        """A value of the statistic in the detector's own unit."""

    def baseline(self) -> float:
        """What is normal, in the unit of the score."""

    def values(self) -> I64:
        """(n,) the statistic at each event of the last flow."""

    def evidence(self, context: Context, finding: Finding) -> dict[str, Any]:
        """What a person needs to believe it."""

    def minute(self, learn: bool) -> None:
        """A minute of stream time is over; learn it unless there was a breach."""


@runtime_checkable
class Holds(Protocol):
    """A detector that keeps positions: they are counted anew each trading day (``Stage1Config.positions_carry``)."""

    def begin_day(self) -> None:
        """Nothing is held any more; what works goes on to work."""


class Passed:
    """What detectors of the one pass (``detectors/onepass.py``) have in common."""

    def begin(self, t: int) -> None:
        """A minute begins at stream time t (ns), before ``tables``. Here nothing depends on it."""

    def room(self) -> int:
        """Events for which its tables are large enough. Here they do not grow."""
        return BOUNDLESS
