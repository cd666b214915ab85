"""What a gate owes for a halt: ``blocked``, then ``cancelling`` with the number still working, then ``confirmed``.

Pure: times and the router's answers come as arguments. One sweep per scope at a time; each (halt_id, epoch) is answered
once, whatever is repeated. A sweep ends when nothing is working or when the scope is no longer halted: a late cancel
must not hit the orders of a resumed router.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Final, TypeVar

from schemas.records import Ack, AckStatus, HaltRecord
from schemas.units import MS_NS, S_NS

T = TypeVar("T")

ORDERS_MAX: Final = 100
"""Orders listed in an ack."""
ANSWERED_MAX: Final = 10_000
"""Answered halts remembered, oldest forgotten first."""
WORKING_POLL_NS: Final = 20 * MS_NS
WORKING_POLL_SLOW_NS: Final = 250 * MS_NS
SLOW_AFTER_NS: Final = 2 * S_NS
CANCEL_AGAIN_NS: Final = 1 * S_NS
CANCEL_ATTEMPTS_MAX: Final = 3
"""Calls of the cancel hook per halt, when it raised or orders stay: bounded, so that rejects do not become a storm."""
ANSWER_NS: Final = 2 * S_NS
"""An order still working so long after its cancel is listed as refused or never answered."""


@dataclass(frozen=True, slots=True)
class Working:
    """The router's answer: how many orders, and which, as far as it says."""

    count: int
    orders: tuple[str, ...] = ()


Ask = Callable[[HaltRecord], Working | None]
"""A hook of the router, guarded by the shell: None when it raised or answered what is neither a number nor ids."""


def as_working(answer: object) -> Working | None:
    """A hook's answer, a number or cl_ord_ids; None if it is neither. A generator is run to its end.

    >>> as_working(3), as_working(["A", "B"]), as_working(-1)
    (Working(count=3, orders=()), Working(count=2, orders=('A', 'B')), None)
    """
    if isinstance(answer, Integral):
        return Working(int(answer)) if int(answer) >= 0 else None
    if isinstance(answer, Iterable) and not isinstance(answer, str | bytes):
        orders = tuple(str(order) for order in answer)
        return Working(len(orders), orders)
    return None


@dataclass(slots=True)
class _Sweep:
    record: HaltRecord
    cancels: bool
    started_ns: int
    looks_first: bool
    """Cancel only if something is working."""
    attempts: int = 0
    cancel_due_ns: int = 0
    poll_due_ns: int = 0
    zero_since_ns: int = -1
    last: Working = Working(0)
    told_cancelling: bool = False
    told_stragglers: bool = False


class Sweeps:
    """All that the gate of ``server`` still has to do and to tell."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._own = f"server:{server}"
        self._sweeps: dict[str, _Sweep] = {}
        self._answered: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._halt_ids: OrderedDict[str, None] = OrderedDict()

    @property
    def pending(self) -> dict[str, int]:
        """Orders still working by scope whose halt is not yet confirmed."""
        return {scope: sweep.last.count for scope, sweep in tuple(self._sweeps.items())}

    def accept(self, record: HaltRecord, mono_ns: int, utc_ns: int) -> Ack | None:
        """A change of a scope that is already blocked in the view. Returns the ``blocked`` ack if one is owed.

        HALTED asks for nothing of a gate that saw its HALTING. One that did not (it was cut off, or started since)
        answers too, but looks first: nothing is cancelled again where nothing is working.
        """
        if record.scope.startswith("server:") and record.scope != self._own:
            return None
        if record.state not in ("HALTING", "HALTED"):
            self._sweeps.pop(record.scope, None)
            return None
        answer = (record.halt_id, record.epoch)
        if answer in self._answered or (record.state == "HALTED" and record.halt_id in self._halt_ids):
            return None
        _remember(self._answered, answer)
        _remember(self._halt_ids, record.halt_id)
        cancels = record.action == "block_and_cancel"
        self._sweeps[record.scope] = _Sweep(record, cancels, mono_ns, looks_first=record.state == "HALTED")
        return self._ack(record, "blocked", utc_ns, Working(0))

    def step(self, mono_ns: int, utc_ns: Callable[[], int], cancel: Ask, working: Ask) -> list[Ack]:
        """Cancel, ask and tell what is due at ``mono_ns``; calls the hooks at most once per scope."""
        acks: list[Ack] = []
        for scope, sweep in list(self._sweeps.items()):
            acks += self._step(sweep, mono_ns, utc_ns, cancel, working)
            if acks and acks[-1].status == "confirmed" and acks[-1].scope == scope:
                del self._sweeps[scope]
        return acks

    def _step(self, sweep: _Sweep, mono_ns: int, utc_ns: Callable[[], int], cancel: Ask, working: Ask) -> list[Ack]:
        acks: list[Ack] = []
        tries = sweep.cancels and not sweep.looks_first and sweep.attempts < CANCEL_ATTEMPTS_MAX
        if tries and mono_ns >= sweep.cancel_due_ns:
            sweep.attempts += 1
            sweep.cancel_due_ns = mono_ns + CANCEL_AGAIN_NS
            sweep.poll_due_ns = mono_ns
            asked = cancel(sweep.record)
            if asked is not None and not sweep.told_cancelling:
                sweep.last = asked
        if mono_ns < sweep.poll_due_ns:
            return acks
        slow = mono_ns - sweep.started_ns > SLOW_AFTER_NS
        sweep.poll_due_ns = mono_ns + (WORKING_POLL_SLOW_NS if slow else WORKING_POLL_NS)
        left = working(sweep.record)
        sweep.last = sweep.last if left is None else left
        sweep.looks_first = sweep.looks_first and left is not None and not left.count
        if sweep.attempts and not sweep.told_cancelling:
            sweep.told_cancelling = True
            acks.append(self._ack(sweep.record, "cancelling", utc_ns(), Working(sweep.last.count)))
        if left is None or left.count:
            sweep.zero_since_ns = -1
            if sweep.cancels and not sweep.told_stragglers and mono_ns - sweep.started_ns >= ANSWER_NS:
                sweep.told_stragglers = True
                acks.append(self._ack(sweep.record, "cancelling", utc_ns(), sweep.last))
        elif sweep.zero_since_ns < 0:
            sweep.zero_since_ns = mono_ns
        else:  # the second look in a row: nothing was on its way either
            acks.append(self._ack(sweep.record, "confirmed", utc_ns(), Working(0)))
        return acks

    def _ack(self, record: HaltRecord, status: AckStatus, ts: int, left: Working) -> Ack:
        return Ack(
            server=self.server,
            ts=ts,
            halt_id=record.halt_id,
            scope=record.scope,
            epoch=record.epoch,
            status=status,
            working=left.count,
            orders=left.orders[:ORDERS_MAX],
        )


def _remember(kept: OrderedDict[T, None], item: T) -> None:
    kept[item] = None
    if len(kept) > ANSWERED_MAX:
        kept.popitem(last=False)
