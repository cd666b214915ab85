"""What has been committed for a parent, event by event, against what the words of the rule say."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.children import ChildFlow, Children
from detectors.flow import Flow, columns
from schemas.events import Kind, Side, as_words, batch_of

from .flows import Writer


def flow_of(*rows: tuple[Kind, dict[str, Any]]) -> Flow:
    """Events a millisecond apart, of one parent unless they say otherwise."""
    writer = Writer()
    for kind, fields in rows:
        writer.now += 1_000_000
        writer.add(kind, **{"parent_id": "P1", "symbol": "SYM1", "side": Side.B, **fields})
    events: NDArray[Any] = writer.events()
    return columns("R1", batch_of(events), as_words(events), events["ts"].astype(np.int64))


def run(*rows: tuple[Kind, dict[str, Any]]) -> ChildFlow:
    return Children(65_536, 65_536).step(flow_of(*rows))


def order(ref: str, qty: int, **more: Any) -> tuple[Kind, dict[str, Any]]:
    return Kind.order, {"cl_ord_id": ref, "qty": qty, **more}


def fill(ref: str, qty: int, **more: Any) -> tuple[Kind, dict[str, Any]]:
    return Kind.fill, {"cl_ord_id": ref, "qty": qty, **more}


def cancel(ref: str) -> tuple[Kind, dict[str, Any]]:
    return Kind.cancel, {"cl_ord_id": ref + "c", "orig_cl_ord_id": ref}


def replace(ref: str, orig: str, qty: int) -> tuple[Kind, dict[str, Any]]:
    return Kind.replace, {"cl_ord_id": ref, "orig_cl_ord_id": orig, "qty": qty}


PARENT = (Kind.parent, {"qty": 1_000})


@pytest.mark.parametrize(
    ("rows", "committed"),
    [
        ([order("A", 300), fill("A", 100), fill("A", 200)], [300, 300, 300]),
        ([order("A", 300), fill("A", 400)], [300, 400]),
        ([order("A", 300), fill("A", 100), cancel("A")], [300, 300, 100]),
        ([order("A", 300), cancel("A"), fill("A", 200)], [300, 0, 0]),
        ([order("A", 300), cancel("A"), fill("A", 200), fill("A", 200)], [300, 0, 0, 100]),
        ([order("A", 300), cancel("A"), (Kind.canceled, {"orig_cl_ord_id": "A"}), fill("A", 50)], [300, 0, 0, 50]),
        ([order("A", 300), (Kind.rejected, {"cl_ord_id": "A"})], [300, 0]),
        ([order("A", 300), replace("B", "A", 500)], [300, 500]),
        ([order("A", 300), replace("B", "A", 500), fill("B", 450), cancel("B")], [300, 500, 500, 450]),
        ([order("A", 300), replace("B", "A", 500), (Kind.rejected, {"cl_ord_id": "B"}), fill("A", 300)],
         [300, 500, 300, 300]),
        ([order("A", 300), replace("B", "A", 100), (Kind.rejected, {"cl_ord_id": "B"})], [300, 100, 300]),
        ([fill("never seen", 70)], [70]),
    ],
)  # fmt: skip
def test_the_commitment_after_each_event(rows: list[tuple[Kind, dict[str, Any]]], committed: list[int]) -> None:
    out = run(PARENT, *rows)
    total = np.cumsum(out.delta)[1:]
    assert total.tolist() == committed
    touched = out.known[1:] & ((out.delta[1:] != 0) | out.emission[1:])
    assert (out.committed[1:][touched] == total[touched]).all()


def test_new_orders_and_larger_replaces_are_emissions_and_nothing_else_is() -> None:
    out = run(PARENT, order("A", 300), replace("B", "A", 200), replace("C", "B", 400), fill("C", 400), cancel("C"))
    assert out.emission.tolist() == [False, True, False, True, False, False]
    assert out.new.tolist() == [False, True, True, True, False, False]


def test_an_event_without_parent_id_belongs_to_the_parent_of_its_order() -> None:
    out = run(
        PARENT,
        order("A", 300),
        fill("A", 100, parent_id=""),
        (Kind.order, {"parent_id": "P2", "cl_ord_id": "B", "qty": 1}),
    )
    assert out.parent.tolist() == [0, 0, 0, 1]
    assert out.known.tolist()[:2] == [True, True]
    assert not out.known[3], "P2 was never accepted here"


def test_time_since_the_parent_was_done() -> None:
    out = run(PARENT, order("A", 300), (Kind.parent_done, {}), order("B", 1), PARENT, order("C", 1))
    assert out.done_for_ns.tolist() == [-1, -1, 0, 1_000_000, -1, -1]
