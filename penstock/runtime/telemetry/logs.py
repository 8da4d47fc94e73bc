"""Log lines as JSON on stderr, one object a line, with the trace id of the request that a line belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from penstock.bus.masking import without_api_keys
from penstock.bus.tracing import is_traceparent

__all__ = ["JsonFormatter", "configure", "reset_trace", "set_trace"]

_traceparent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)


def set_trace(traceparent: str | None) -> Token[str | None]:
    """Put the trace id of `traceparent` into the log lines of this task and of the tasks it starts.

    A task that handles one message needs no `reset_trace`: its context ends with it.
    """
    return _traceparent.set(traceparent)


def reset_trace(token: Token[str | None]) -> None:
    _traceparent.reset(token)


class JsonFormatter(logging.Formatter):
    """`logger.info("message", extra={"fields": {...}})` becomes one line with those fields, without API keys."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._service = service
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
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


def configure(service: str, instance: str, level: str) -> None:
    """Make the whole process log this way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpx2", "openai", "groq", "uvicorn.error", "faststream"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
