"""`penstock trace`: the spans of one request as a tree."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.cli.errors import CommandError
from penstock.cli.render.trace_tree import newest_trace, trace_of, trace_text
from penstock.runtime.config.settings import load_settings
from penstock.runtime.runtime_file import client_environment, read_runtime_file
from penstock.runtime.telemetry.spans import EXPORT_INTERVAL_S
from penstock.runtime.telemetry.trace_file import SpanLine, read_spans

__all__ = ["find_trace", "trace"]

_LAST = "last"
"""The argument that selects the newest request with a trace."""
_IN_A_COLLECTOR: Final = (
    "this system sends its traces by OTLP: look in {}, or start it with PENSTOCK_TRACES=file:PATH"
)
_EXPORT_S: Final = EXPORT_INTERVAL_S + 0.3
"""Seconds until an ended span is in the file: at most the interval of exports, and time to write."""


def trace(request: str, data: Path) -> int:
    """Print the trace of a request id, its beginning, or `last`. Raises CommandError and ConfigurationRefused."""
    file = _trace_file(data)
    request_id = None if request == _LAST else request
    spans = find_trace(file, request_id)
    wait_s = _export_wait_s(spans, time.time_ns())
    if wait_s > 0:
        time.sleep(wait_s)
        spans = find_trace(file, request_id)
    if not spans:
        missing = "no request" if request_id is None else f"no request {request_id}"
        raise CommandError(
            f"{file} contains {missing}: its trace is elsewhere, or was not sampled (PENSTOCK_TRACE_SAMPLE_RATIO)"
        )
    print(trace_text(spans))
    return 0


def _export_wait_s(spans: Sequence[SpanLine], now_ns: int) -> float:
    """Seconds until every service has exported its spans of this trace."""
    ended_ns = max((span.end_ns for span in spans), default=now_ns)
    return min(max(_EXPORT_S - (now_ns - ended_ns) / 1e9, 0.0), _EXPORT_S)


def find_trace(file: Path, request_id: str | None) -> list[SpanLine]:
    """The spans of the request's trace, or of the newest trace for None. The file is read twice, never whole."""
    try:
        spans = read_spans(file)
        trace_id = newest_trace(spans) if request_id is None else trace_of(spans, request_id)
        return [span for span in read_spans(file) if span.trace_id == trace_id]
    except FileNotFoundError as error:
        raise CommandError(
            f"there are no traces at {file.absolute()}; start `penstock up` and send a request, or name the "
            "data directory of a system that was started elsewhere with --data DIR"
        ) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error


def _trace_file(data: Path) -> Path:
    """The path of the trace file. Raises CommandError when spans are not written to a file."""
    running = None if os.environ.get("NATS_URL") else read_runtime_file(data)
    settings = load_settings(client_environment(os.environ, running))
    if settings.trace_file is not None:
        return Path(settings.trace_file)
    if running is None:
        if settings.traces == "otlp":
            raise CommandError(_IN_A_COLLECTOR.format("your OTLP collector"))
        return data / "traces.jsonl"
    if running.traces is not None:
        return Path(running.traces)
    if running.collector is not None:
        raise CommandError(_IN_A_COLLECTOR.format(f"the OTLP collector at {running.collector}"))
    raise CommandError("this system has no traces: it was started with PENSTOCK_TRACES=off")
