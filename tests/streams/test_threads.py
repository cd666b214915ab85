"""Nobody waits for a thread that has ended; a worker that does not stop is ended."""

import asyncio
import threading
import time

import pytest
from mode.threads import QueueServiceThread

from streams.threads import Answering, ThreadEnded
from streams.worker import EXIT_OVERDUE, must_end


class Service(Answering, QueueServiceThread):  # type: ignore[misc]
    async def add(self, a: int, b: int) -> int:
        return a + b

    async def stop_by_itself(self) -> None:
        """As a crash of the app makes it: the thread ends, and nobody has told the parent."""
        self._stopped.set()


async def ended(service: Service) -> None:
    end = time.monotonic() + 20
    while service._thread.is_alive():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_thread_that_runs_answers() -> None:
    async def run() -> int:
        service = Service()
        await service.start()
        try:
            return int(await service.call_thread(service.add, 2, 3))
        finally:
            await service.stop()

    assert asyncio.run(asyncio.wait_for(run(), 20)) == 5


def test_a_call_after_its_end_fails() -> None:
    async def run() -> None:
        service = Service()
        await service.start()
        await service.call_thread(service.stop_by_itself)
        await ended(service)
        with pytest.raises(ThreadEnded):
            await service.call_thread(service.add, 2, 3)
        await service.stop()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_call_that_it_did_not_get_to_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        service = Service()
        await service.start()

        async def lost(*_: object, **__: object) -> None:
            """Comes after the thread's last look at its queue."""

        monkeypatch.setattr(service.method_queue, "call", lost)
        waiting = asyncio.ensure_future(service.call_thread(service.add, 2, 3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        service.thread_loop.call_soon_threadsafe(service._stopped.set)
        with pytest.raises(ThreadEnded):
            await waiting
        await service.stop()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_what_does_not_stop_is_ended(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    codes: list[int] = []
    left = threading.Event()
    must_end(0.05, lambda code: (codes.append(code), left.set()))
    assert left.wait(20)
    assert codes == [EXIT_OVERDUE]
    assert "has not stopped within 0.05 s" in caplog.text
    assert "most recent call first" in capfd.readouterr().err
