"""The newest whole snapshot is found after any crash while writing, any compaction, and from any place before it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from streams import snapshot_form
from streams.snapshot_form import Collector, Snapshot, pack

Records = list[tuple[str, bytes]]


def written(states: list[bytes], chunk: int = 64) -> list[Records]:
    """Each snapshot as the records of one ``store``."""
    before, snapshot_form.CHUNK_BYTES = snapshot_form.CHUNK_BYTES, chunk  # type: ignore[misc]
    try:
        return [
            pack(Snapshot("orderflow/3", {("t-orderflow", 3): 10 * (i + 1)}, state), i % 2, 1000 + i)
            for i, state in enumerate(states)
        ]
    finally:
        snapshot_form.CHUNK_BYTES = before  # type: ignore[misc]


def collect(records: Records, name: str = "orderflow/3") -> Collector:
    collector = Collector(name)
    for key, value in records:
        collector.feed(key.encode(), value)
    return collector


def compacted(records: Records, head: int, chance: random.Random) -> Records:
    """As the log cleaner may leave it: of the first ``head`` records, any that a later one of the same key replaces."""
    last = {key: i for i, (key, _) in enumerate(records)}
    return [r for i, r in enumerate(records) if i >= head or last[r[0]] == i or chance.random() < 0.3]


def incompressible(n: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(n)


@given(st.data())
def test_found_after_crash_compaction_and_from_a_hint(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=6))
    states = [incompressible(size, i) for i, size in enumerate(sizes)]
    stores = written(states)
    torn = data.draw(st.integers(0, len(stores[-1]) - 1)) if len(stores) > 1 else len(stores[-1])
    whole = len(stores) - 1 if torn < len(stores[-1]) else len(stores)
    log = [record for store in stores[:-1] for record in store] + stores[-1][:torn]
    hint = sum(len(store) for store in stores[: data.draw(st.integers(0, whole - 1))])
    head = data.draw(st.integers(0, len(log)))
    seen = compacted(log, head, random.Random(data.draw(st.integers(0, 99))))
    kept = {id(r): i for i, r in enumerate(log)}
    found = collect([r for r in seen if kept[id(r)] >= hint])
    assert found.best is not None
    assert found.best.state == states[whole - 1]
    assert found.best.positions == {("t-orderflow", 3): 10 * whole}
    assert found.slot == whole % 2, "the next one must not overwrite the one that was found"


def test_others_are_passed_over() -> None:
    mine, other = written([b"mine"])[0], pack(Snapshot("desk", {}, b"desk", 4), 0, 1)
    foreign = [("orderflow/30|0|0", b"x" * 20), ("nonsense", b"")]
    found = collect([*foreign, *other, *mine])
    assert found.best is not None
    assert found.best.state == b"mine"
    assert collect(foreign).best is None
    tombstone = Collector("desk")
    tombstone.feed(b"desk|0|manifest", None)
    tombstone.feed(None, b"x")
    assert tombstone.best is None


def test_higher_generation_wins_over_later_write() -> None:
    """A desk that was paused wakes and stores its old state: it is not taken."""
    new = pack(Snapshot("desk", {("v", 0): 50}, b"new", 3), 0, 1)
    zombie = pack(Snapshot("desk", {("v", 0): 90}, b"old", 2), 1, 2)
    found = collect([*new, *zombie], "desk")
    assert found.best is not None
    assert found.best.state == b"new"
    assert found.slot == 1


def test_chunks_of_two_writers_never_mix() -> None:
    """Both wrote into slot 0 at once: neither is whole, the one in slot 1 is taken."""
    a, b = (
        written([incompressible(300, 1)])[0],
        pack(Snapshot("orderflow/3", {("t", 3): 99}, incompressible(70, 2)), 0, 5),
    )
    whole = pack(Snapshot("orderflow/3", {("t", 3): 5}, b"whole"), 1, 3)
    mixed = [a[0], b[0], *a[1:]]
    found = collect([*whole, *mixed])
    assert found.best is not None
    assert found.best.state == b"whole"
