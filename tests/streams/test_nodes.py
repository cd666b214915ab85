"""What is a node record, and what is refused with which word."""

import msgspec
import pytest

from schemas.codec import Reason
from schemas.records import NodeState, encode
from streams.nodes import KINDS, checked
from streams.refusals import Refused, reason_of, refusal

NODES = KINDS[0]
GOOD = NodeState("R1", 1_700_000_000_000_000_000, "b", "c")


def test_good() -> None:
    assert checked(NODES, b"R1", encode(GOOD)) == GOOD
    assert checked(NODES, None, encode(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.undecodable),
        (b"{", Reason.undecodable),
        (b"\xff", Reason.undecodable),
        (b"[]", Reason.wrong_type),
        (b'{"server":"R1"}', Reason.missing_field),
        (encode(msgspec.structs.replace(GOOD, v=2)), Reason.wrong_version),
        (encode(msgspec.structs.replace(GOOD, server="")), Reason.oversized_field),
        (encode(msgspec.structs.replace(GOOD, server="x" * 17)), Reason.oversized_field),
        (encode(msgspec.structs.replace(GOOD, ts=5)), Reason.out_of_range),
        (encode(msgspec.structs.replace(GOOD, server="R2")), Reason.out_of_range),
    ],
)
def test_refused(value: bytes, reason: Reason) -> None:
    with pytest.raises((msgspec.DecodeError, Refused)) as caught:
        checked(NODES, b"R1", value)
    assert reason_of(caught.value) is reason
    letter = refusal("nodes", 1, 5, b"R1", value, caught.value)  # type: ignore[arg-type]
    assert (letter.reason, letter.topic, letter.partition, letter.offset, letter.key) == (reason, "nodes", 1, 5, "R1")
    assert letter.detail
