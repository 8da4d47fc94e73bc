"""The errors in the bytes that a provider sends, as opposed to errors of the network.

A reply with one of these is never delivered as complete (D6). `failures.py` decides which are retried.
"""

from __future__ import annotations

from typing import Final

from services.worker.providers.errors.read_error import ProviderError

__all__ = [
    "NO_DONE_HINT",
    "NO_FINISH_REASON_HINT",
    "REPEATED_FINISH_REASON_HINT",
    "SINGLE_NEWLINE_HINT",
    "BrokenStream",
    "MalformedChunk",
    "MalformedReply",
    "ProviderErrorEvent",
    "SseTooLarge",
    "SseTruncated",
    "WireError",
]


def _hint(behaviour: str, setting: str) -> str:
    return f"; if this provider {behaviour}, set stream: {{{setting}}} for it in the catalogue"


# Endings of the message of a stream that would be complete under another setting of the catalogue.
NO_DONE_HINT: Final = _hint("never sends it", "done: optional")
NO_FINISH_REASON_HINT: Final = _hint("never sends one", "finish_reason: optional")
REPEATED_FINISH_REASON_HINT: Final = _hint("puts one on every chunk", "finish_reason: every")
SINGLE_NEWLINE_HINT: Final = _hint("ends its events with one newline", "event_end: newline")


class WireError(Exception):
    """The bytes that a provider sent are not a valid reply."""


class SseTruncated(WireError):
    """The stream ended inside an event."""


class SseTooLarge(WireError):
    """One event is larger than the reader's bound."""


class MalformedChunk(WireError):
    """An event of the stream is not a chat completion chunk."""


class BrokenStream(WireError):
    """The stream ended without a complete reply."""


class MalformedReply(WireError):
    """The body is not a complete chat completion."""


class ProviderErrorEvent(WireError):
    """The provider reported an error inside a response with status 200."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(f"{error.code}: {error.message}" if error.code else error.message)
        self.error = error
