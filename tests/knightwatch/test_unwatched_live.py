"""A worker dies while the desk lives elsewhere: only the gates of the routers that it watched close, until another has
taken its partitions over."""

from pathlib import Path

from halts.gate_io import partition_of
from knightwatch.follow import wait_until
from producers.gateway import LiveGates
from tests.knightwatch.live_workers import PARTITIONS, SERVERS, Beats, log_of, settled, workers


def test_gates_of_a_dead_workers_routers_close_and_open_again(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    with (
        workers(kafka, topic_prefix, tmp_path, 2) as running,
        LiveGates(kafka, SERVERS, prefix=topic_prefix) as gates,
        Beats(kafka, topic_prefix) as beats,
    ):

        def closed() -> dict[str, str]:
            """Gates that let nothing through, and why: all asked within a moment."""
            asked = {server: gate.may_send(symbol="ACME") for server, gate in gates.gates.items()}
            return {server: decision.reason for server, decision in asked.items() if not decision.allowed}

        before = settled(tmp_path, running, beats)
        assert wait_until(lambda: not closed(), 60), f"{closed()} never opened\n{log_of(tmp_path, before.desk)}"
        victim = next(name for name in running if name != before.desk)
        lost = before.held[victim]
        theirs = {server for server in SERVERS if partition_of(server, PARTITIONS) in lost}
        assert 0 < len(theirs) < len(SERVERS), f"routers of both: {before}"
        heard = len(beats.read)
        running[victim].kill()

        # The desk notices after 2 s, the broker after 6 s: in between exactly these are closed, for seconds. They close
        # one after another, and a busy machine may keep one more from hearing the desk for a moment: wait for it.
        def only_theirs() -> bool:
            found = closed()
            unwatched = {server for server, gate in gates.gates.items() if gate.state().unwatched}
            reasons = all("no worker reads this router's orders" in reason for reason in found.values())
            return set(found) == unwatched == theirs and reasons

        assert wait_until(only_theirs, 30, 0.01), f"{closed()} closed, expected {theirs}\n{beats.read[heard:]}"
        assert wait_until(lambda: not closed(), 90), f"{closed()} never opened again\n{log_of(tmp_path, before.desk)}"
        # what the desk said, whoever was late to hear it
        said = [set(beat.unwatched) for beat in beats.read[heard:] if beat.generation == before.generation]
        assert lost in said, f"the desk never named the partitions of the dead: {lost} in {said}"
        assert all(parts <= lost for parts in said), f"the desk named partitions that it reads itself: {said}"
