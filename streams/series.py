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
        self._children: dict[tuple[str, ...], Any] = {}
        """By name and label values: prometheus_client takes a lock and 2 us to find a child again."""

    def __call__(self, metric: m.Metric, *labels: str) -> Any:
        """The child of ``metric`` with these label values."""
        child = self._children.get((metric.name, *labels))
        if child is None:
            child = self._children[metric.name, *labels] = self._child(metric, labels)
        return child

    def _child(self, metric: m.Metric, labels: tuple[str, ...]) -> Any:
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
            self._forget(metric)

    def clear(self, metric: m.Metric) -> None:
        """Forget the metric altogether; it is made anew when next used."""
        made = self._made.pop(metric.name, None)
        if made is not None:
            self._registry.unregister(made)
            self._forget(metric)

    def _forget(self, metric: m.Metric) -> None:
        self._children = {key: child for key, child in self._children.items() if key[0] != metric.name}
