"""Where an engine takes up its work when its partitions are assigned: snapshot, committed offset, or the beginning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mode import get_logger

from streams.batches import RecordBatch
from streams.snapshot_form import Snapshot
from streams.snapshots import Place, load, oldest_hint

logger = get_logger(__name__)

TP = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Start:
    """``positions``: first offset to process of each input. ``snapshot``: the state to begin with, None for a new one.
    ``slot``: which slot the next snapshot goes to."""

    positions: dict[TP, int]
    snapshot: Snapshot | None
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """What the broker says about one input partition. ``committed`` is None before the first commit."""

    earliest: int
    end: int
    committed: int | None
    note: str = ""


async def starts(
    consumer: Any, bootstrap: str, prefix: str, engines: Mapping[str, tuple[int, Sequence[Any]]], **client: Any
) -> dict[str, Start]:
    """The start of each engine. engines: name -> (partition of ``snapshots``, input partitions)."""
    tps = [tp for _, inputs in engines.values() for tp in inputs]
    notes = await consumer.committed_notes(tps)
    earliest = await consumer.earliest_offsets(*tps)
    ends = await consumer.highwaters(*tps)
    logs = {}
    for tp in tps:
        commit = notes.get((tp[0], tp[1]))
        committed, note = (commit.offset, commit.note) if commit else (None, "")
        logs[tp[0], tp[1]] = Log(earliest[tp], ends[tp], committed, note)
    wanted = {
        name: Place(partition, oldest_hint(logs[tp[0], tp[1]].note for tp in inputs))
        for name, (partition, inputs) in engines.items()
    }
    found = await load(bootstrap, prefix, wanted, **client)
    return {
        name: decide(name, found[name].best, {(tp[0], tp[1]): logs[tp[0], tp[1]] for tp in inputs}, found[name].slot)
        for name, (_, inputs) in engines.items()
    }


def decide(name: str, snapshot: Snapshot | None, logs: Mapping[TP, Log], slot: int = 0) -> Start:
    """Pure: a snapshot beats a commit, a commit beats the beginning, and what points past the end of the log is of
    another log (the topic was made anew) and is not used."""
    if snapshot is not None:
        beyond = {tp: at for tp, at in snapshot.positions.items() if tp in logs and at > logs[tp].end}
        if beyond:
            logger.error(
                "%s: its snapshot stands at %s, past the end of the log %s. The topic was made anew; starting without"
                " state at its beginning.", name, beyond, {tp: logs[tp].end for tp in beyond},
            )  # fmt: skip
            return Start({tp: log.earliest for tp, log in logs.items()}, None, slot)
        positions = {tp: snapshot.positions.get(tp, _from_commit(log)) for tp, log in logs.items()}
        return Start(positions, snapshot, slot)
    committed = {tp: log.committed for tp, log in logs.items() if log.committed}
    if committed:
        logger.error(
            "%s: committed at %s but no snapshot was found: its state is lost (was the topic of snapshots deleted?)."
            " Going on from there without state: it forgets orders and baselines, not halts.", name, committed,
        )  # fmt: skip
    return Start({tp: _from_commit(log) for tp, log in logs.items()}, None, slot)


def _from_commit(log: Log) -> int:
    if log.committed is None or log.committed > log.end:
        return log.earliest
    return log.committed


async def following(consumer: Any, batch: RecordBatch, expected: int) -> RecordBatch | None:
    """What of ``batch`` has not been processed yet, where ``expected`` is the first offset not processed.

    None when nothing is, or when offsets in between were not delivered; those are then read again. Offsets that the
    broker has deleted are gone: that is said in the log, and reading goes on after them.
    """
    if batch.start <= expected:
        return batch.since(expected)
    tp = next(tp for tp in consumer.assignment() if tp == (batch.topic, batch.partition))
    earliest = (await consumer.earliest_offsets(tp))[tp]
    if earliest >= batch.start:
        logger.error(
            "%s-%s: offsets %s to %s were deleted by the broker before they were read. Retention is too short for this"
            " lag.", batch.topic, batch.partition, expected, batch.start,
        )  # fmt: skip
        return batch
    logger.warning(
        "%s-%s: got %s after %s; reading again from there", batch.topic, batch.partition, batch.start, expected
    )
    await consumer.seek_wait({tp: max(earliest, expected)})
    return None
