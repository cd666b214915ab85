"""Taking fetched records out of aiokafka: a partition at a time, with the positions before and after.

This is ``Fetcher.fetched_records`` of aiokafka 0.14 (pinned) with three differences: records of batched topics come as
``RecordBatch``, they are unpacked from the bytes themselves, without any object for each (``streams.raw_sets``), and
there is a budget per topic and call, so that a backlog of order flow does not stand before a verdict. The only place
that knows aiokafka's private names; ``check`` fails at start if one of them is gone.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence, Set
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException
from aiokafka.structs import TopicPartition

from schemas.record_set import Body, parse
from streams.batches import Limits, RecordBatch, split
from streams.raw_sets import RecordSet, Tap

PREFETCH_BACKOFF_S = 0.02
"""How long a partition that waits to be consumed keeps the others of its broker from being fetched (aiokafka: 0.1 s).
With 0 a second fetch goes out at once, for the idle partitions alone; the broker holds it for ``FETCH_WAIT_MS_MAX``, and
nothing of the busy ones can be fetched meanwhile: every second look at them came 20 ms late. More would let a backlog
of order flow stand before a verdict."""
FETCHER_NAMES = (
    "_client",
    "_records",
    "_subscriptions",
    "_wait_consume_future",
    "_notify",
    "_create_fetch_waiter",
    "_prefetch_backoff",
)
RESULT_NAMES = ("check_assignment", "has_more", "getall", "_update_position")
RECORDS_NAMES = ("_consume_aborted_up_to", "_contains_abort_marker", "_unpack_records")


def check(consumer: Any) -> None:
    """AttributeError with what to do when aiokafka is not the version this was written against."""
    fetcher = consumer._fetcher
    missing = [f"Fetcher.{name}" for name in FETCHER_NAMES if not hasattr(fetcher, name)]
    missing += [f"FetchResult.{name}" for name in RESULT_NAMES if not hasattr(FetchResult, name)]
    missing += [f"PartitionRecords.{name}" for name in RECORDS_NAMES if not hasattr(PartitionRecords, name)]
    if missing:
        raise AttributeError(f"aiokafka has no {', '.join(missing)}; expected 0.14: install the pinned version")


def tune(consumer: Any, batched: Set[str]) -> None:
    """Ask a broker for more when all that came last is taken, not when some of it is. The bytes of what is fetched of
    ``batched`` topics are kept."""
    fetcher = consumer._fetcher
    fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
    fetcher._client = Tap(fetcher._client, batched)


async def fetch(
    consumer: Any, active: Set[Any], batched: Mapping[str, Limits], timeout_s: float
) -> dict[TopicPartition, list[Any]]:
    """What has been fetched from the ``active`` partitions, waiting up to ``timeout_s`` for something to arrive.

    Lists of ``RecordBatch`` for the topics in ``batched``, of ``ConsumerRecord`` for the others. Topics of which a
    batch is small come first. Raises what aiokafka raises (authorization, corrupt records), ConsumerStoppedError.
    """
    fetcher = consumer._fetcher
    deadline = time.monotonic() + timeout_s
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        drained = _drain(fetcher, active, batched)
        if drained:
            return dict(sorted(drained.items(), key=lambda item: sum(map(_records_in, item[1]))))
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return {}
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=remaining)
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()


def _records_in(item: Any) -> int:
    return len(item) if isinstance(item, RecordBatch) else 1


def _drain(fetcher: Any, active: Set[Any], batched: Mapping[str, Limits]) -> dict[TopicPartition, list[Any]]:
    drained: dict[TopicPartition, list[Any]] = {}
    budget = {topic: limits.records_max for topic, limits in batched.items()}
    for tp in list(fetcher._records):
        if tp not in active:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
                fetcher._client.forget(tp)
            continue
        result = fetcher._records[tp]
        if type(result) is not FetchResult:
            if drained:
                return drained  # raise the error at the next call, as aiokafka does
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            result.check_raise()
        limits = batched.get(tp.topic)
        if limits is None:
            items = result.getall()
        elif budget[tp.topic] > 0:
            items = _batches(result, tp, limits, budget[tp.topic], fetcher._client)
            budget[tp.topic] -= sum(map(len, items))
        else:
            continue
        if not result.has_more():
            del fetcher._records[tp]
            fetcher._client.forget(tp)
            fetcher._notify(fetcher._wait_consume_future)
        if items:
            drained[tp] = items
    return drained


def _batches(result: Any, tp: TopicPartition, limits: Limits, records_max: int, tap: Tap) -> list[RecordBatch]:
    if not result.check_assignment(tp) or not result.has_more():
        return []
    start = result._assignment.state_value(tp).position
    fetched = result._partition_records
    records = unpack(fetched, records_max, tap.of(tp, fetched))
    end = fetched.next_fetch_offset
    result._update_position()
    if not fetched._records.has_next():
        result._partition_records = None
    if end == start:
        return []
    return split(RecordBatch(tp.topic, tp.partition, start, end, records), limits)


def unpack(fetched: Any, records_max: int, raw: RecordSet | None = None) -> Sequence[Any]:
    """Records of a fetch from where it stands, a producer's batch at a time, until ``records_max`` or more are there.

    ``PartitionRecords._unpack_records`` without its loop over records. ``raw``: the same fetch as bytes; without it, or
    where a batch is of a format before v2, aiokafka's own objects. ``fetched.next_fetch_offset`` says where it stands
    then. Raises CorruptRecordException.
    """
    first = fetched.next_fetch_offset
    objects: list[Any] = []
    bodies: list[Body] = []
    count, source = 0, fetched._records
    while count < records_max and source.has_next():
        batch = source.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"wrong CRC in {fetched._tp} at offset {batch.base_offset}")
        if raw is not None:
            raw.step(batch)
        if not _invisible(fetched, batch):
            body = raw.body() if raw is not None else None
            if body is not None:
                bodies.append(body)
                count += body.count
            else:
                objects += _parsed(fetched, bodies, first)
                bodies = []
                objects += [record for record in batch if record.offset >= first]
                count = len(objects)
        fetched.next_fetch_offset = batch.next_offset
    return [*objects, *_parsed(fetched, bodies, first)] if objects else _parsed(fetched, bodies, first)


def _parsed(fetched: Any, bodies: Sequence[Body], first: int) -> Sequence[Any]:
    try:
        return parse(bodies, first) if bodies else []
    except ValueError as error:
        raise CorruptRecordException(f"{fetched._tp}: {error}") from error


def _invisible(fetched: Any, batch: Any) -> bool:
    """Control batches, and what an aborted transaction wrote."""
    if fetched._isolation_level == READ_COMMITTED and batch.producer_id is not None:
        fetched._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch:
            if fetched._contains_abort_marker(batch):
                fetched._aborted_producers.discard(batch.producer_id)
            return True
        return bool(batch.is_transactional and batch.producer_id in fetched._aborted_producers)
    return bool(batch.is_control_batch)
