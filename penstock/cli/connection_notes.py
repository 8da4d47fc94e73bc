"""What a command says of its connection while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["connection_notes"]

_CONNECTION: Final = "penstock.bus.connection"
_NOTES: Final = {
    "lost": "the connection to NATS is lost; waiting for it",
    "again": "connected again",
}


class _ConnectionNotes(logging.Handler):
    """One note when the connection is lost and one when it is back; log records in between are dropped."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._note = note
        self._lost = False

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "fields", {}).get("connection")
        if state in _NOTES:
            if (state == "lost") != self._lost:
                self._lost = state == "lost"
                self._note(_NOTES[state])
        elif state is None and record.levelno >= logging.WARNING:
            self._note(record.getMessage())


@contextmanager
def connection_notes(note: Callable[[str], None]) -> Iterator[None]:
    """Inside the context, all log records of the process go to `note`."""
    root, connection = logging.getLogger(), logging.getLogger(_CONNECTION)
    handler = _ConnectionNotes(note)
    before = connection.level
    root.addHandler(handler)
    connection.setLevel(logging.INFO)
    try:
        yield
    finally:
        connection.setLevel(before)
        root.removeHandler(handler)
