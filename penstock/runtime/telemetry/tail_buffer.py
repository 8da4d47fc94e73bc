"""Tail sampling: the spans of unsampled traces are kept for a while, and exported if the trace has an error or is slow.

OpenTelemetry's collector does the same (`tailsamplingprocessor`, with its policies `status_code` and `latency`) for
spans that were all sent to it. Here each process keeps its own, and only those that are exported are encoded and sent.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.trace_names import LANE
from penstock.contract.traces.kept import MAX_KEPT_TRACES
from penstock.runtime.telemetry.recorded_span import RecordedSpan

__all__ = ["TailBuffer"]

_log: Final = rate_limited_logger(__name__)
_MAX_SPANS: Final = 16_384
"""Unsampled spans in memory; beyond them the oldest are dropped. One takes about 0.85 KB, all of them 14 MB."""
_DECIDING_S: Final = 5.0
"""Seconds for which a span is kept beyond the time after which a trace is slow: for the message that says so."""
_REMEMBERED_S: Final = 900.0
"""Seconds after which a span that has not ended is given up, and the choice of its trace is forgotten."""
_MAX_REMEMBERED: Final = 10_000
"""Chosen traces whose later spans are exported too; beyond them the oldest are forgotten."""


class _Group(Struct):
    """The spans that began between two calls of `due`."""

    until_s: float
    """When the later call was."""
    spans: list[RecordedSpan]
    searched: bool = False
    """It is old enough for its running spans to be slow, and they were chosen."""


class TailBuffer:
    """`due` is called by the thread that exports, about once a second, everything else by the event loop."""

    def __init__(self, slow_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """`slow_s`: a trace with a span that takes longer is exported, except for waits in the batch lane."""
        self._slow_s = slow_s
        self._slow_ns = round(slow_s * 1e9)
        self._now_s = now_s
        self._begun: deque[RecordedSpan] = deque(maxlen=_MAX_SPANS)
        self.spans_dropped = 0
        """At least so many spans were dropped before they were too old, because too many were in memory."""
        self._groups: list[_Group] = []
        """Of the spans that began before, oldest first; only `due` uses it."""
        self._lock = threading.Lock()
        """Of the attributes that follow. What an ordinary span does needs no lock."""
        self._kept: OrderedDict[str, float] = OrderedDict()
        """Traces whose spans are exported, and since when, in this order. A dict would search for its first key."""
        self._chosen: deque[str] = deque(maxlen=2 * MAX_KEPT_TRACES)
        """Those among them that this process chose, until `take_chosen`."""
        self._choices_left = MAX_KEPT_TRACES
        """Until the next call of `due`."""
        self.traces_chosen = 0
        """By this process, since it started."""
        self.choices_dropped = 0
        """Spans with an error, or slow, whose traces were not chosen because too many were in that second."""

    @property
    def is_empty(self) -> bool:
        """`due` has nothing to do before the next `begin`."""
        return not (self._begun or self._groups)

    def begin(self, span: RecordedSpan) -> None:
        """Keep a span of an unsampled trace, which has just begun."""
        self._begun.append(span)

    def end(self, span: RecordedSpan) -> None:
        """Choose the trace of a kept span, which has just ended, if it has an error or is slow."""
        took_ns = span.end_ns - span.start_ns
        if span.error or (took_ns >= self._slow_ns and span.attributes.get(LANE) != "batch"):
            self._choose(span.trace_id)

    def keep(self, trace_ids: Iterable[str]) -> None:
        """Export the spans of these traces: another process chose them."""
        with self._lock:
            for trace_id in trace_ids:
                self._remember(trace_id)

    def take_chosen(self) -> tuple[str, ...]:
        """The traces, up to as many as one message may name, that this process chose and that no call returned yet."""
        with self._lock:
            return tuple(self._chosen.popleft() for _ in range(min(MAX_KEPT_TRACES, len(self._chosen))))

    def due(self) -> list[RecordedSpan]:
        """The spans of chosen traces that have ended and that no call returned yet. Drops those that are too old."""
        now_s = self._now_s()
        if len(self._begun) == self._begun.maxlen:
            self.spans_dropped += 1  # or more: to count each would make every `begin` slower
        self._groups.append(_Group(now_s, [self._begun.popleft() for _ in range(len(self._begun))]))
        with self._lock:
            self._choices_left = MAX_KEPT_TRACES
            while self._kept and next(iter(self._kept.values())) <= now_s - _REMEMBERED_S:
                self._kept.popitem(last=False)
        for group in self._groups:
            if not group.searched and group.until_s <= now_s - self._slow_s:
                group.searched = True
                for span in group.spans:
                    if not span.end_ns:
                        self._choose(span.trace_id)
        found = self._take() if self._kept else []
        self._drop(now_s)
        return found

    def _choose(self, trace_id: str) -> None:
        with self._lock:
            if trace_id in self._kept:
                return
            if not self._choices_left:
                self.choices_dropped += 1
                _log.warning(
                    "more than %d unsampled traces a second have an error or are slow", MAX_KEPT_TRACES
                )
                return
            self._choices_left -= 1
            self.traces_chosen += 1
            self._chosen.append(trace_id)
            self._remember(trace_id)

    def _remember(self, trace_id: str) -> None:
        self._kept.setdefault(trace_id, self._now_s())
        if len(self._kept) > _MAX_REMEMBERED:
            self._kept.popitem(last=False)

    def _take(self) -> list[RecordedSpan]:
        found: list[RecordedSpan] = []
        for group in self._groups:
            left: list[RecordedSpan] = []
            for span in group.spans:
                (found if span.end_ns and span.trace_id in self._kept else left).append(span)
            group.spans = left
        return found

    def _drop(self, now_s: float) -> None:
        """Of groups that are too old or too much, only running spans stay, and those that `_take` returns next."""
        size = sum(len(group.spans) for group in self._groups)
        for group in self._groups:
            too_old = group.until_s <= now_s - self._slow_s - _DECIDING_S
            if size > _MAX_SPANS or too_old:
                before = len(group.spans)
                group.spans = [each for each in group.spans if not each.end_ns or each.trace_id in self._kept]
                dropped = before - len(group.spans)
                size -= dropped
                if not too_old:
                    self.spans_dropped += dropped
        self._groups = [
            group for group in self._groups if group.spans and group.until_s > now_s - _REMEMBERED_S
        ]
