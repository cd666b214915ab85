"""Memory of a worker that remembers a million live orders, and whether it stays the same.

    python -m benchmarks.memory [--json] [--save] [--orders N] [--minutes M] [--rate N]

A real worker with everything on. First ``--orders`` orders that nobody fills or cancels, on eight servers; then for
``--minutes`` a flow at ``--rate`` events a second in which each new order takes the place of the oldest (order, ack,
cancel, canceled), so that as many are live at the end. Resident memory is looked at once a second; the slope is that of
the least-squares line over the second half.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.lab import cluster
from benchmarks.lab.result import Benchmark, say
from benchmarks.lab.watch import Worker, until
from producers.publish import Publisher
from schemas.events import Kind, Phase, Side, empty_events
from schemas.units import MS_NS, PRICE9, S_NS

SERVERS: Final = 8
TARGET_MB: Final = 600
STEP_S: Final = 0.02
READY_S: Final = 240.0
FILL_S_MAX: Final = 600.0
SETTLE_S: Final = 5.0
_PER_PARENT: Final = 100
_SYMBOLS: Final = 200


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--orders", type=int, default=1_000_000, help="live orders")
    parser.add_argument("--minutes", type=float, default=0.5, help="of turnover afterwards; 30 for the real thing")
    parser.add_argument("--rate", type=float, default=5_000, help="events a second of the turnover")
    parser.add_argument("--bootstrap", default=None, help="a broker as HOST:PORT; otherwise an embedded one")


class Book:
    """Orders of one server, numbered from 0: order i is the child of parent i // 100."""

    def __init__(self, server: str) -> None:
        self.server = server.encode()
        self.seq = 0
        self.first = 0
        """The oldest order that is live."""
        self.next = 0

    def _events(self, kind: Kind, numbers: NDArray[np.int64], ts: NDArray[np.int64]) -> NDArray[Any]:
        made = empty_events(len(numbers))
        made["server"], made["kind"], made["ts"] = self.server, kind, ts
        made["symbol"] = [f"S{n % _SYMBOLS:03d}" for n in (numbers // _PER_PARENT).tolist()]
        made["side"], made["strategy"], made["account"], made["venue"] = Side.B, b"vwap", b"A1", b"X"
        made["phase"], made["bid"], made["ask"] = Phase.cont, 10 * PRICE9, 10 * PRICE9 + PRICE9 // 100
        made["parent_id"] = [f"P{n}" for n in (numbers // _PER_PARENT).tolist()]
        return made

    def opened(self, count: int, begin_ns: int, end_ns: int) -> NDArray[Any]:
        """``count`` new orders with their acks (and a parent before each hundredth), evenly from begin to end."""
        numbers = np.arange(self.next, self.next + count)
        ts = np.linspace(begin_ns, end_ns, count, dtype=np.int64)
        orders, acks = self._events(Kind.order, numbers, ts), self._events(Kind.ack, numbers, ts)
        for made in (orders, acks):
            made["cl_ord_id"] = [f"O{n}" for n in numbers.tolist()]
        orders["qty"], orders["px"] = 100, 10 * PRICE9
        heads = numbers % _PER_PARENT == 0
        parents = self._events(Kind.parent, numbers[heads], ts[heads])
        parents["qty"] = 100 * _PER_PARENT
        self.next += count
        return self._merged((parents, orders, acks), (numbers[heads], numbers, numbers))

    def closed(self, count: int, begin_ns: int, end_ns: int) -> NDArray[Any]:
        """The ``count`` oldest orders are cancelled."""
        numbers = np.arange(self.first, self.first + count)
        ts = np.linspace(begin_ns, end_ns, count, dtype=np.int64)
        cancels, canceled = self._events(Kind.cancel, numbers, ts), self._events(Kind.canceled, numbers, ts)
        for made in (cancels, canceled):
            made["orig_cl_ord_id"] = [f"O{n}" for n in numbers.tolist()]
            made["cl_ord_id"] = [f"C{n}" for n in numbers.tolist()]
        canceled["qty"] = 100
        self.first += count
        return self._merged((cancels, canceled), (numbers, numbers))

    def _merged(self, parts: tuple[NDArray[Any], ...], numbers: tuple[NDArray[np.int64], ...]) -> NDArray[Any]:
        """In order of the order's number, and for one order in the order of ``parts``; numbered for the log."""
        whole = np.concatenate(parts, dtype=parts[0].dtype)
        whole = whole[np.argsort(np.concatenate(numbers), kind="stable")]
        whole["seq"] = np.arange(self.seq + 1, self.seq + 1 + len(whole))
        self.seq += len(whole)
        return whole


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """``{"orders", "rss_mb_start", "rss_mb_live", "rss_mb_end", "slope_mb_per_hour", "samples"}``."""
    prefix = cluster.fresh("memory-")
    books = [Book(f"R{i + 1}") for i in range(SERVERS)]
    with cluster.broker(given.bootstrap) as bootstrap, tempfile.TemporaryDirectory(prefix="knightwatch-") as folder:
        cluster.make_topics(bootstrap, prefix)
        with Worker(bootstrap, prefix, Path(folder)) as worker, Publisher(bootstrap, prefix=prefix) as publisher:
            _fill(publisher, books, SERVERS)
            until(lambda: worker.processed() >= _sent(books), READY_S, 0.1, "flow through the worker", worker)
            started_mb = worker.rss_mb()
            say(f"{started_mb:,.0f} MB after the first orders; {given.orders:,} live orders ...")
            _fill(publisher, books, given.orders)
            until(lambda: worker.processed() >= _sent(books), FILL_S_MAX, 0.2, "worker that has them all", worker)
            time.sleep(SETTLE_S)
            live_mb = worker.rss_mb()
            say(f"{live_mb:,.0f} MB; turning them over for {given.minutes:g} minutes ...")
            samples = _turn_over(publisher, books, worker, given)
            until(lambda: worker.processed() >= _sent(books), FILL_S_MAX, 0.2, "worker that keeps up", worker)
            end_mb, peak_mb = worker.rss_mb(), worker.peak_rss_mb
    half = np.array(samples[len(samples) // 2 :])
    slope = float(np.polyfit(half[:, 0], half[:, 1], 1)[0]) * 3_600 if len(half) > 2 else None
    return {
        "orders": sum(book.next - book.first for book in books),
        "events": _sent(books),
        "rss_mb_start": round(started_mb, 1),
        "rss_mb_live": round(live_mb, 1),
        "rss_mb_end": round(end_mb, 1),
        "rss_mb_peak": round(peak_mb, 1),
        "bytes_per_order": round((live_mb - started_mb) * 2**20 / given.orders),
        "minutes": given.minutes,
        "slope_mb_per_hour": None if slope is None else round(slope, 1),
        "target_mb": TARGET_MB,
        "samples": samples,
    }


def _sent(books: list[Book]) -> int:
    return sum(book.seq for book in books)


def _fill(publisher: Publisher, books: list[Book], orders: int) -> None:
    """Orders in the past, 100 a second and server, so that no rate alarm stands while memory is looked at."""
    each = orders // len(books)
    now = time.time_ns()
    length = each * S_NS // 100
    step = 5_000
    for start in range(0, each, step):
        count = min(step, each - start)
        begin, end = (now - length + length * k // each for k in (start, start + count))
        for book in books:
            publisher.publish(book.opened(count, begin, end))
        publisher.flush(60)


def _turn_over(
    publisher: Publisher, books: list[Book], worker: Worker, given: argparse.Namespace
) -> list[tuple[float, float]]:
    """(seconds, MB) once a second, while each new order replaces the oldest."""
    samples: list[tuple[float, float]] = []
    began = time.monotonic()
    end = began + given.minutes * 60
    done = 0
    before = time.time_ns()
    while (now := time.monotonic()) < end:
        worker.check()
        due = int((now - began) * given.rate / 4 / len(books)) - done
        if due > 0:
            stamp = time.time_ns()
            for book in books:
                publisher.publish(book.opened(due, before + MS_NS, stamp))
                publisher.publish(book.closed(due, stamp, stamp))
            done += due
            before = stamp
        if len(samples) <= now - began:
            samples.append((round(now - began, 1), round(worker.rss_mb(), 2)))
        time.sleep(STEP_S)
    publisher.flush(60)
    return samples


def table(found: Mapping[str, Any]) -> list[str]:
    """For people."""
    slope = found["slope_mb_per_hour"]
    kept = found["rss_mb_peak"] <= found["target_mb"]
    return [
        f"{found['rss_mb_start']:8,.0f} MB after the first orders",
        f"{found['rss_mb_live']:8,.0f} MB with {found['orders']:,} live orders ({found['bytes_per_order']} bytes each)",
        f"{found['rss_mb_end']:8,.0f} MB after {found['minutes']:g} minutes of turnover"
        + ("" if slope is None else f", {slope:+,.1f} MB an hour over the second half"),
        f"{found['rss_mb_peak']:8,.0f} MB at most",
        f"target {found['target_mb']} MB: {'reached' if kept else 'MISSED'}",
    ]


BENCHMARK: Final = Benchmark("memory", "Memory with many live orders, and over time.", arguments, measure, table)

if __name__ == "__main__":
    BENCHMARK.main()
