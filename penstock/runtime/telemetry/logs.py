"""Log lines as JSON on stderr, one object a line, with the trace id of the request that a line belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, Counter

from penstock.bus.masking import without_api_keys
from penstock.bus.tracing import is_traceparent
from penstock.runtime.telemetry.line_writer import LineWriter

__all__ = ["JsonFormatter", "LogMetrics", "configure", "reset_trace", "set_trace", "written_time"]

_LAST_LINES_S: Final = 1.0
"""Longest wait, at the end of a process, for the reader of its last lines."""
_traceparent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)


def set_trace(traceparent: str | None) -> Token[str | None]:
    """Put the trace id of `traceparent` into the log lines of this task and of the tasks it starts.

    A task that handles one message needs no `reset_trace`: its context ends with it.
    """
    return _traceparent.set(traceparent)


def reset_trace(token: Token[str | None]) -> None:
    _traceparent.reset(token)


def written_time(unix_s: float) -> str:
    """A time as the field `at` of a log line has it."""
    second, milliseconds = divmod(int(unix_s * 1000), 1000)
    return f"{_written_second(second)}.{milliseconds:03}+00:00"


@lru_cache(8)
def _written_second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """`logger.info("message", extra={"fields": {...}})` becomes one line with those fields, without API keys."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._service = service
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": written_time(record.created),
            "level": record.levelname.lower(),
            "service": self._service,
            "instance": self._instance,
            "message": record.getMessage(),
        }
        traceparent = _traceparent.get()
        if traceparent is not None and is_traceparent(traceparent):
            line["trace_id"] = traceparent[3:35]
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            text = msgspec.json.encode(line, enc_hook=str).decode()
        except UnicodeEncodeError:  # half a surrogate pair, out of a file name or a provider's broken text
            text = json.dumps(line, default=str, skipkeys=True)
        return without_api_keys(text)


class LogMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.dropped = Counter(
            "penstock_log_lines_dropped",
            "Log lines that were dropped because stderr was closed, full or not read.",
            registry=registry,
        )


class _LineHandler(logging.Handler):
    """Neither waits for the reader of the log nor fails without one."""

    def __init__(self, writer: LineWriter, formatter: logging.Formatter) -> None:
        super().__init__()
        self._writer = writer
        self._formatter = formatter

    def handle(self, record: logging.LogRecord) -> bool:
        """Without filters and lock: the writer has its own."""
        try:
            line = self._formatter.format(record)
        except Exception:  # noqa: BLE001 - as every handler of the library
            self.handleError(record)
        else:
            self._writer.write(line)
        return True

    def flush(self) -> None:
        """Called at the end of the process."""
        self._writer.flush(_LAST_LINES_S)


def configure(service: str, instance: str, level: str, metrics: LogMetrics) -> None:
    """Make the whole process log this way. What no line has is not collected (logging HOWTO, "Optimization")."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - documented
    formatter = JsonFormatter(service, instance)

    def dropped_text(count: int) -> str:
        text = f"{count:,} log lines were dropped: stderr was closed, full or not read"
        return formatter.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, (), None))

    writer = LineWriter(sys.stderr, dropped_text=dropped_text, on_dropped=metrics.dropped.inc)
    handler = _LineHandler(writer, formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpx2", "openai", "groq", "uvicorn.error", "faststream"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
