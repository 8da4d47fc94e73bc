"""`penstock trace`: what happened to one request, hop by hop."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.cli.errors import CommandError
from penstock.cli.render.trace_tree import newest_trace, trace_of, trace_text
from penstock.runtime.config.settings import load_settings
from penstock.runtime.runtime_file import client_environment, read_runtime_file
from penstock.runtime.telemetry.trace_file import SpanLine, read_spans

__all__ = ["find_trace", "trace"]

_LAST = "last"
"""Instead of a request's id: the newest."""
_EXPORT_S: Final = 1.3
"""Services write their spans once a second."""


def trace(wanted: str, data: Path) -> int:
    """Draw the trace of the request `wanted`, or of the newest. Raises CommandError and ConfigurationRefused."""
    file = _trace_file(data, os.environ)
    spans = find_trace(file, None if wanted == _LAST else wanted)
    wait_s = _still_to_come_s(spans, time.time_ns())
    if wait_s > 0:
        time.sleep(wait_s)
        spans = find_trace(file, None if wanted == _LAST else wanted)
    if not spans:
        found = "no request" if wanted == _LAST else f"no request {wanted}"
        raise CommandError(f"{file} holds {found}")
    print(trace_text(spans))
    return 0


def _still_to_come_s(spans: Sequence[SpanLine], now_ns: int) -> float:
    """How long until every service has written what it knows of this trace."""
    ended_ns = max((span.end_ns for span in spans), default=now_ns)
    return min(max(_EXPORT_S - (now_ns - ended_ns) / 1e9, 0.0), _EXPORT_S)


def find_trace(file: Path, request_id: str | None) -> list[SpanLine]:
    """The spans of the trace that holds the request, or of the newest for None; read twice, kept once."""
    try:
        spans = read_spans(file)
        trace_id = newest_trace(spans) if request_id is None else trace_of(spans, request_id)
        return [span for span in read_spans(file) if span.trace_id == trace_id]
    except FileNotFoundError as error:
        raise CommandError(
            f"there are no traces at {file.absolute()}; start with `penstock up` and ask, or say with --data DIR "
            "where a system that was started in another directory keeps its own"
        ) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error


def _trace_file(data: Path, env: Mapping[str, str]) -> Path:
    """Where the spans are. CommandError where they were not written to a file here."""
    settings = load_settings(client_environment(env, read_runtime_file(data)))
    if settings.trace_file is not None:
        return Path(settings.trace_file)
    if settings.traces == "otlp":
        raise CommandError(
            "the spans go to the OTLP collector; look there, or start with PENSTOCK_TRACES=file:PATH"
        )
    return data / "traces.jsonl"
