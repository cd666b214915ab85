"""The metrics that this process exposes: made when first used, names from ``schemas.metrics``."""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas import metrics as m

KINDS: Final = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class Series:
    """``series(metric, *labels)`` is the child to set, increase or observe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: dict[str, Any] = {}

    def __call__(self, metric: m.Metric, *labels: str) -> Any:
        """The child of ``metric`` with these label values."""
        made = self._made.get(metric.name)
        if made is None:
            extra = {"buckets": metric.buckets} if metric.buckets else {}
            made = KINDS[metric.kind](metric.name, metric.help, metric.labels, registry=self._registry, **extra)
            self._made[metric.name] = made
        return made.labels(*labels) if labels else made

    def remove(self, metric: m.Metric, **labels: str) -> None:
        """Forget every child with these label values."""
        made = self._made.get(metric.name)
        if made is not None and metric.labels:
            made.remove_by_labels(labels)

    def clear(self, metric: m.Metric) -> None:
        """Forget the metric altogether; it is made anew when next used."""
        made = self._made.pop(metric.name, None)
        if made is not None:
            self._registry.unregister(made)
