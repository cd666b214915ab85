"""What the acceptor tells Prometheus, under the names that routers and workers use too; read at each scrape."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.fix_acceptor.convert import SOURCE
from producers.fix_acceptor.intake import Intake
from producers.metrics import PUBLISH_REASONS
from producers.publish import Publisher
from schemas import metrics as m


class AcceptorCollector(Collector):
    """Published, waiting and lost events by server; refused messages by reason, under ``topic="fix"``."""

    def __init__(self, intake: Intake, publisher: Publisher) -> None:
        self._intake, self._publisher = intake, publisher

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        published, waiting = self._intake.published(), self._publisher.waiting()
        servers = list(dict.fromkeys([*self._intake.servers, *published, *waiting]))
        events = CounterMetricFamily(m.PUBLISHED.name, m.PUBLISHED.help, labels=m.PUBLISHED.labels)
        errors = CounterMetricFamily(m.PUBLISH_ERRORS.name, m.PUBLISH_ERRORS.help, labels=m.PUBLISH_ERRORS.labels)
        queue = GaugeMetricFamily(m.PUBLISH_QUEUE.name, m.PUBLISH_QUEUE.help, labels=m.PUBLISH_QUEUE.labels)
        for server in servers:
            events.add_metric((server,), published.get(server, 0))
            queue.add_metric((server,), waiting.get(server, 0))
            for reason in PUBLISH_REASONS:
                errors.add_metric((server, reason), self._publisher.errors.get((server, reason), 0))
        letters = CounterMetricFamily(m.DEAD_LETTERS.name, m.DEAD_LETTERS.help, labels=m.DEAD_LETTERS.labels)
        for reason, count in dict(self._intake.findings.refused).items():
            letters.add_metric((SOURCE, reason), count)
        yield from (events, errors, queue, letters)
