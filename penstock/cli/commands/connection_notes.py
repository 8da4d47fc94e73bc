"""What the library logs while a person reads an answer: a word about the connection, not its log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["noting"]

_CONNECTION: Final = "penstock.bus.connection"
_WORDS: Final = {
    "lost": "the connection to NATS is lost; waiting for it",
    "again": "connected again",
}


class _ConnectionNotes(logging.Handler):
    """One note when the connection is lost, one when it is back; what is logged between tells nothing new."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._lost = False

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "fields", {}).get("connection")
        if state in _WORDS:
            if (state == "lost") != self._lost:
                self._lost = state == "lost"
                self._say(_WORDS[state])
        elif state is None and record.levelno >= logging.WARNING:
            self._say(record.getMessage())


@contextmanager
def noting(say: Callable[[str], None]) -> Iterator[None]:
    """All log records of the process go to `say` as notes while it lasts."""
    root, connection = logging.getLogger(), logging.getLogger(_CONNECTION)
    notes = _ConnectionNotes(say)
    before = connection.level
    root.addHandler(notes)
    connection.setLevel(logging.INFO)
    try:
        yield
    finally:
        connection.setLevel(before)
        root.removeHandler(notes)
