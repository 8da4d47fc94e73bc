"""The metrics of tail sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from penstock.runtime.telemetry.tail_buffer import TailBuffer

__all__ = ["register_tail_metrics"]


class _ReadCounter(Collector):
    """A counter whose value is kept elsewhere."""

    def __init__(self, name: str, documentation: str, read: Callable[[], int]) -> None:
        self._name, self._documentation, self._read = name, documentation, read

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._documentation, value=self._read())


def register_tail_metrics(registry: CollectorRegistry, tail: TailBuffer) -> None:
    registry.register(
        _ReadCounter(
            "penstock_tail_traces_chosen",
            "Unsampled traces that this process chose to export: one of its spans had an error or was slow.",
            lambda: tail.traces_chosen,
        )
    )
    registry.register(
        _ReadCounter(
            "penstock_tail_choices_dropped",
            "Spans of unsampled traces that had an error or were slow and whose traces were not chosen: this process "
            "chooses 100 traces a second.",
            lambda: tail.choices_dropped,
        )
    )
    registry.register(
        _ReadCounter(
            "penstock_tail_spans_dropped",
            "Spans of unsampled traces that were dropped early, as more than 16,384 were in memory; a lower bound.",
            lambda: tail.spans_dropped,
        )
    )
