"""From the FIX engine's thread to Kafka: journal first, then convert and publish in a thread of its own."""

import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from kafka.errors import KafkaTimeoutError

from producers.fix_acceptor.convert import Converted, Converter
from producers.fix_acceptor.journal import Journal
from producers.fix_acceptor.settings import AcceptorSettings
from producers.importers.findings import Findings
from producers.publish import Publisher
from schemas.topics import DEAD_LETTERS

KAFKA: Final[dict[str, Any]] = {"delivery_timeout_ms": 2**31 - 1}
"""A broker that is away for an hour takes the values after it: nothing that was handed over is given up."""
BATCH_MESSAGES_MAX: Final = 1_000
WAITING_MAX: Final = 50_000
"""Messages (some 300 bytes each) that wait for conversion; then the session is read no further until there is room."""
UNSENT_VALUES_MAX: Final = 2_000
"""Values that wait for the broker before conversion waits too: a tenth of where the publisher would drop them."""
CONFIRM_S: Final = 0.25
CHECKPOINT_MESSAGES: Final = 50_000
"""Messages after which the state is saved, so that a start has no more than these to read again (some 5 s)."""
CHECKPOINT_S_MAX: Final = 5.0


class Intake:
    """Takes raw messages of sessions and publishes their events; ``failure`` is what ended it, if anything did.

    ``take`` returns when the message is in the journal: then FIX may count it as taken. A start publishes what the
    journal holds and Kafka may not have, with the numbers (``seq``) that it had.
    """

    def __init__(self, settings: AcceptorSettings, publisher: Publisher, checkpoint: int = CHECKPOINT_MESSAGES) -> None:
        """Restores what the store holds. Raises OSError (JournalError) and msgspec.ValidationError."""
        self.findings = Findings()
        self.restored = 0
        """Messages of the journal that were published at the start, perhaps again."""
        self.failure: BaseException | None = None
        self._publisher, self._checkpoint_messages = publisher, checkpoint
        self._journal = Journal(Path(settings.store))
        self._converter = Converter(settings, self.findings, time.time_ns() // 1_000)
        self.servers = self._converter.servers
        self._waiting: deque[bytes] = deque()
        self._done = 0
        """Messages of the present journal whose events are with the publisher."""
        self._left = False
        """Some are in the journal only."""
        self._ending = self._closing = self._closed = False
        self.whole = False
        """After ``close``: Kafka has everything that was taken."""
        self._changed = threading.Condition()
        self._confirming = threading.Lock()
        self._next_checkpoint = checkpoint
        self._published: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=t, name=f"fix-{t.__name__}", daemon=True) for t in (self._work, self._mark)
        ]

    def __enter__(self) -> Self:
        self._restore()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _restore(self) -> None:
        state, messages = self._journal.restore()
        if state is None:
            self._journal.begin(self._converter.save())
            return
        self._converter.restore(state)
        known = self._journal.confirmed
        for start in range(0, known, BATCH_MESSAGES_MAX):
            self._converter.convert(messages[start : min(start + BATCH_MESSAGES_MAX, known)])
        self.findings.reset()
        self.restored = len(messages) - known
        self._done = known
        with self._changed:
            self._waiting.extend(messages[known:])

    def take(self, raw: bytes) -> None:
        """Keep a message and have it published. OSError: it is not kept, and must not count as taken."""
        if self._journal.count >= self._next_checkpoint:
            self.checkpoint()
        self._journal.append(raw)
        with self._changed:
            while len(self._waiting) >= WAITING_MAX and not self._ending:
                self._changed.wait(1.0)
            self._left = self._left or len(self._waiting) >= WAITING_MAX
            if not self._left:
                self._waiting.append(raw)
                self._changed.notify_all()

    def hurry(self) -> None:
        """The end is near: ``take`` no longer waits for room, and what has none is left to the next start."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def published(self) -> dict[str, int]:
        """Events handed to the publisher, by server."""
        return dict(self._published)

    def checkpoint(self, timeout_s: float = CHECKPOINT_S_MAX) -> bool:
        """Save the state when everything taken is on Kafka; False when it is not within ``timeout_s``.

        Only from the thread that calls ``take``, or when nobody calls it any more."""
        end = time.monotonic() + timeout_s
        with self._changed:
            self._changed.wait_for(lambda: self._done == self._journal.count or self.failure is not None, timeout_s)
        if self._done == self._journal.count and self._confirm(max(0.1, end - time.monotonic())):
            with self._confirming:
                self._journal.begin(self._converter.save())
                self._done = 0
            self._next_checkpoint = self._checkpoint_messages
            return True
        self._next_checkpoint = self._journal.count + self._checkpoint_messages // 4
        return False

    def close(self) -> None:
        """Publish what waits, save the state and let the store go. What Kafka then lacks the next start sends, from the
        journal."""
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CHECKPOINT_S_MAX)
        self.whole = not self._left and self.failure is None and self.checkpoint()
        self._journal.close()

    def _work(self) -> None:
        try:
            while batch := self._next():
                self._publish(self._converter.convert(batch))
                with self._changed:
                    self._done += len(batch)
                    self._changed.notify_all()
        except Exception as error:  # whatever it is, the session must end: nothing would be published any more
            self.failure = error

    def _next(self) -> list[bytes]:
        """The next messages, when there are any and the publisher has room; none when it is time to end."""
        with self._changed:
            while not self._waiting or self._publisher.unsent > UNSENT_VALUES_MAX:
                if self._closing:
                    return []
                self._changed.wait(0.05 if self._waiting else None)
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MESSAGES_MAX, len(self._waiting)))]
            self._changed.notify_all()
            return batch

    def _publish(self, converted: Converted) -> None:
        events = converted.events
        self._publisher.publish(events)
        for letter in converted.letters:
            self._publisher.record(DEAD_LETTERS, letter.key, letter)
        names, counts = np.unique(events["server"], return_counts=True)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            self._published[name.decode()] = self._published.get(name.decode(), 0) + count

    def _mark(self) -> None:
        """Every quarter of a second: what is on Kafka by now?"""
        try:
            while not self._closing:
                self._confirm(CHECKPOINT_S_MAX)
                time.sleep(CONFIRM_S)
        except OSError as error:
            self.failure = error

    def _confirm(self, timeout_s: float) -> bool:
        with self._confirming:
            done = self._done
            if done == self._journal.confirmed:
                return True
            try:
                self._publisher.flush(timeout_s)
            except KafkaTimeoutError:
                return False
            if self._publisher.failed or self._publisher.dropped:
                return False  # a start sends it again, from the journal
            self._journal.confirm(done)
            return True
