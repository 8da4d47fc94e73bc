"""The recording tracer: spans as plain structs, exported by a thread in batches.

OpenTelemetry's SDK does the same for several times the CPU, which was a third of that of a whole request.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.tracing import Attributes, Kind, PassingSpan, Span, is_traceparent
from penstock.runtime.telemetry.recorded_span import RecordedSpan
from penstock.runtime.telemetry.tail_buffer import TailBuffer

__all__ = ["EXPORT_INTERVAL_S", "SpanExporter", "SpanRecorder"]

_log: Final = rate_limited_logger(__name__)
_QUEUE_SPANS: Final = 8_192
"""Ended spans in memory; beyond them the oldest are dropped."""
_BATCH_SPANS: Final = 1_024
"""Spans that are exported at once, at most: about 400 KB."""
EXPORT_INTERVAL_S: Final = 1.0
"""Seconds between two exports of the spans that have ended: a request to a collector costs as much as 50 spans."""
_LAST_EXPORT_S: Final = 3.0
"""Longest wait, at the end of a process, for the export of its last spans."""
_SAMPLED: Final = 1
"""The flag of a `traceparent` that says that the trace is recorded."""


class SpanExporter(Protocol):
    """Where ended spans go. Both methods are called by one thread."""

    def export(self, spans: Sequence[RecordedSpan]) -> None: ...

    def close(self) -> None: ...


class SpanRecorder:
    """The tracer of one process. A span with a parent is sampled as that is, one without with the given probability.

    Ended spans are exported in the background. What an exporter cannot export is lost.
    """

    def __init__(
        self, exporter: SpanExporter, *, sample_ratio: float = 1.0, tail: TailBuffer | None = None
    ) -> None:
        """`sample_ratio`: the share of the traces begun here that is recorded, by their ids: every process decides
        alike. `tail` has the spans of the other traces; None: they are not recorded.
        """
        self.tail: Final = tail
        self._exporter = exporter
        self._sampled_below = round(sample_ratio * 2**64)
        self._ended: deque[RecordedSpan] = deque(maxlen=_QUEUE_SPANS)
        self._any = threading.Event()
        """Spans have ended since the last export."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span export", daemon=True)
        self._thread.start()

    def start(
        self,
        name: str,
        kind: Kind,
        *,
        parent: str | None = None,
        attributes: Attributes | None = None,
        start_ns: int | None = None,
    ) -> Span:
        if parent is not None and is_traceparent(parent):
            trace_id, parent_id = parent[3:35], parent[36:52]
            sampled = parent[53:] == "01" or bool(int(parent[53:], 16) & _SAMPLED)
        else:
            number = _random_id(128)
            trace_id, parent_id = f"{number:032x}", None
            sampled = number % 2**64 < self._sampled_below
        tail = self.tail
        if not sampled and tail is None:
            return PassingSpan(f"00-{trace_id}-{parent_id or f'{_random_id(64):016x}'}-00")
        span = RecordedSpan(
            f"00-{trace_id}-{_random_id(64):016x}-{'01' if sampled else '00'}",
            parent_id,
            name,
            kind,
            time.time_ns() if start_ns is None else start_ns,
            {} if attributes is None else attributes,
            self._add,
        )
        if not sampled and tail is not None:
            span.ended = tail.end
            tail.begin(span)
            self._wake()
        return span

    def _add(self, span: RecordedSpan) -> None:
        if len(self._ended) == _QUEUE_SPANS:
            _log.warning("more spans end than are exported; the oldest are dropped")
        self._ended.append(span)
        self._wake()

    def _wake(self) -> None:
        if not self._any.is_set():
            self._any.set()

    def close(self) -> None:
        """Export the last spans; those that are not exported within 3 s are lost."""
        self._closing.set()
        self._any.set()
        self._thread.join(_LAST_EXPORT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            if self.tail is None or self.tail.is_empty:
                self._any.wait()
            self._closing.wait(EXPORT_INTERVAL_S)
            self._any.clear()
            self._export()
        self._export()  # what ended during the last one
        self._exporter.close()

    def _export(self) -> None:
        if self.tail is not None:
            self._ended.extend(self.tail.due())
        while self._ended:
            batch = [self._ended.popleft() for _ in range(min(_BATCH_SPANS, len(self._ended)))]
            try:
                self._exporter.export(batch)
            except Exception:  # noqa: BLE001 - the next spans may be exported
                _log.exception("spans cannot be exported; they are dropped")


def _random_id(bits: int) -> int:
    """Not zero, which stands for no id."""
    return random.getrandbits(bits) or 1
