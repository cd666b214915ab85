"""Stage 1's part of parity: what each partition said live against what its engine says now, one verdict at a time."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from replay.journal import DeskLog
from replay.log import BATCH_ROWS, EventSource
from replay.merge import Stage1Like
from replay.parity_report import Difference, Part
from replay.recorded import RecordedLog
from schemas.codec import to_dicts
from schemas.records import Breach, FeatureRow, Source, encode
from schemas.topics import ORDERFLOW, VERDICTS
from schemas.units import S_NS

TAIL_NS_MAX: Final = 5 * S_NS
"""Stream time at the end of a partition for which live verdicts may be missing: the recording ended before them."""


class _Head(Struct):
    """What says whose verdict a record is."""

    type: str = ""
    source: Source | None = None


_head = msgspec.json.Decoder(_Head)
_Said = tuple[int, bytes]
"""(offset on ``verdicts``, value)."""


def stage1_parity(
    log: RecordedLog, desk_log: DeskLog, stage1: Callable[[int], Stage1Like], on_events: Callable[[int], None]
) -> Iterator[Part]:
    """One part for each partition of ``orderflow`` that was recorded."""
    live = _by_partition(desk_log)
    for source in log.sources():
        said = live.pop(source.partition, [])
        yield _compare(source, said, stage1(source.partition), on_events)
    for partition, said in sorted(live.items()):
        part = Part(f"{VERDICTS.name} of {ORDERFLOW.name}-{partition}")
        offset, value = said[0]
        text = f"{len(said)} verdicts on {ORDERFLOW.name}-{partition}, of which no event was recorded"
        part.difference = Difference(VERDICTS.name, 0, offset, msgspec.json.decode(value), None, None, text)
        yield part


def _by_partition(desk_log: DeskLog) -> dict[int, list[_Said]]:
    """What stage 1 said live about each partition, in order."""
    found: dict[int, list[_Said]] = {}
    for kept in desk_log.inputs[VERDICTS.name]:
        try:
            head = _head.decode(kept.value)
        except msgspec.DecodeError:
            continue
        if head.type in ("breach", "row") and head.source is not None and head.source.topic == ORDERFLOW.name:
            found.setdefault(head.source.partition, []).append((kept.offset, kept.value))
    return found


def _compare(source: EventSource, live: list[_Said], engine: Stage1Like, on_events: Callable[[int], None]) -> Part:
    """Walk both sequences. Live may say again what it said (a crash), and may lack the end."""
    part = Part(f"{VERDICTS.name} of {ORDERFLOW.name}-{source.partition}")
    at, seen, last_ts = 0, set[bytes](), 0
    missing: list[Breach | FeatureRow] = []
    for batch in source.batches(BATCH_ROWS):
        on_events(len(batch))
        last_ts = max(last_ts, int(batch.events["ts"].max()))
        for verdict in engine.step(batch):
            expected = encode(verdict)
            while at < len(live) and live[at][1] != expected and live[at][1] in seen:
                part.repeats += 1
                at += 1
            if at == len(live):
                missing.append(verdict)
            elif live[at][1] == expected:
                seen.add(expected)
                part.compared += 1
                at += 1
            else:
                part.difference = _difference(source, live[at], verdict)
                return part
    while at < len(live) and live[at][1] in seen:
        part.repeats += 1
        at += 1
    part.tail = len(missing)
    if at < len(live):
        part.difference = _difference(source, live[at], None)
    elif missing and missing[0].ts < last_ts - TAIL_NS_MAX:
        part.difference = _difference(source, None, missing[0])
    return part


def _difference(source: EventSource, live: _Said | None, replayed: Breach | FeatureRow | None) -> Difference:
    live_record = msgspec.json.decode(live[1]) if live else {}
    where = replayed.source if replayed else msgspec.convert(live_record["source"], Source)
    if live and replayed:
        text = f"{source.partition}: live and replay say different things: {_fields(live_record, replayed)}"
    elif live:
        text = f"{source.partition}: live says what the replay does not"
    else:
        text = f"{source.partition}: the replay says what live did not, and the recording goes on after it"
    offset = live[0] if live else -1
    replay_record = msgspec.to_builtins(replayed) if replayed else None
    return Difference(
        VERDICTS.name, 0, offset, live_record or None, replay_record, _event(source, where), f"{ORDERFLOW.name}-{text}"
    )


def _fields(live: Any, replayed: Struct) -> str:
    """Names of the fields that differ, with both values."""
    other = msgspec.json.decode(encode(replayed))
    names = sorted(name for name in {*live, *other} if live.get(name) != other.get(name))
    shown = ", ".join(f"{name} is {live.get(name)!r} live, {other.get(name)!r} in the replay" for name in names[:3])
    return (
        shown + (f", and {len(names) - 3} more fields" if len(names) > 3 else "") if names else "only the bytes differ"
    )


def _event(source: EventSource, where: Source) -> dict[str, Any] | None:
    """The order event at a place, in JSON's words."""
    for batch in source.batches(BATCH_ROWS):
        if batch.offsets[-1] < where.offset:
            continue
        at = (batch.offsets == where.offset) & (batch.items == where.item)
        if at.any():
            found: dict[str, Any] = to_dicts(batch.events[at])[0]
            return found
        if batch.offsets[0] > where.offset:
            break
    return None
