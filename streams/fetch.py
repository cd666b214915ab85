"""Taking fetched records out of aiokafka: a partition at a time, with the positions before and after.

This is ``Fetcher.fetched_records`` of aiokafka 0.14 (pinned) with three differences: records of batched topics come as
``RecordBatch``, they are unpacked without a Python loop or a second object for each (1.3 -> 0.3 us a record), and there
is a budget per topic and call, so that a backlog of order flow does not stand before a verdict. The only place
that knows aiokafka's private names; ``check`` fails at start if one of them is gone.
"""

import asyncio
import time
from collections.abc import Mapping, Set
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException
from aiokafka.structs import TopicPartition

from streams.batches import Limits, RecordBatch, split

FETCHER_NAMES = (
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


def tune(consumer: Any) -> None:
    """A partition that waits to be consumed must not keep the others of its broker from being fetched (0.1 s)."""
    consumer._fetcher._prefetch_backoff = 0.0


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
            items = _batches(result, tp, limits, budget[tp.topic])
            budget[tp.topic] -= sum(map(len, items))
        else:
            continue
        if not result.has_more():
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
        if items:
            drained[tp] = items
    return drained


def _batches(result: Any, tp: TopicPartition, limits: Limits, records_max: int) -> list[RecordBatch]:
    if not result.check_assignment(tp) or not result.has_more():
        return []
    start = result._assignment.state_value(tp).position
    fetched = result._partition_records
    records = unpack(fetched, records_max)
    end = fetched.next_fetch_offset
    result._update_position()
    if not fetched._records.has_next():
        result._partition_records = None
    if end == start:
        return []
    return split(RecordBatch(tp.topic, tp.partition, start, end, records), limits)


def unpack(fetched: Any, records_max: int) -> list[Any]:
    """Records of a fetch from where it stands, a producer's batch at a time, until ``records_max`` or more are there.

    ``PartitionRecords._unpack_records`` without its loop over records: that, and one object a record instead of two,
    is three quarters of the cost. ``fetched.next_fetch_offset`` says where it stands then.
    """
    records: list[Any] = []
    source = fetched._records
    while len(records) < records_max and source.has_next():
        batch = source.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"wrong CRC in {fetched._tp} at offset {batch.base_offset}")
        if not _invisible(fetched, batch):
            found = list(batch)
            if found and found[0].offset < fetched.next_fetch_offset:
                found = [record for record in found if record.offset >= fetched.next_fetch_offset]
            records += found
        fetched.next_fetch_offset = batch.next_offset
    return records


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
