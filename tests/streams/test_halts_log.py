"""What a starting desk takes from ``halts``: the newest of each scope, as the gates read it."""

from schemas.records import HaltRecord, Heartbeat, Money, encode
from schemas.topics import HEARTBEAT_KEY
from streams.halts_log import HaltsLog


def halt(epoch: int, state: str, generation: int) -> bytes:
    return encode(
        HaltRecord("h", epoch, "server:R1", state, "block", 1, 2, (), "t", Money(), "desk", generation)  # type: ignore[arg-type]
    )


def test_newest_by_generation_and_epoch() -> None:
    log = HaltsLog()
    log.feed(0, b"server:R1", halt(4, "HALTED", 2))
    log.feed(1, b"server:R1", halt(9, "ACTIVE", 1))
    log.feed(2, b"server:R1", halt(3, "ACTIVE", 2))
    log.feed(3, b"server:R1", None)
    log.feed(4, b"server:R2", b"not a record")
    log.feed(5, HEARTBEAT_KEY.encode(), encode(Heartbeat(1, 1, 7)))
    assert {scope: (r.epoch, r.state) for scope, r in log.records.items()} == {"server:R1": (4, "HALTED")}
    assert log.generation == 7
    assert list(log.undecodable) == ["server:R1", "server:R2"], "an epoch that goes back closes the gates too"


def test_a_desk_starts_from_what_the_gates_believe() -> None:
    """An opening that names nobody is newer, and opens no gate: so no desk may take it for the state of the scope."""
    log = HaltsLog()
    log.feed(0, b"server:R1", halt(4, "HALTED", 2))
    log.feed(1, b"server:R1", halt(5, "ACTIVE", 2).replace(b'"by":"desk"', b'"by":""'))
    assert (log.records["server:R1"].epoch, log.records["server:R1"].state) == (4, "HALTED")
