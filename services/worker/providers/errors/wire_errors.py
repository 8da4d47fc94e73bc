"""What can be wrong with the bytes a provider sends: one tree, apart from what is wrong with the network.

None of these is ever an answer (REQUIREMENTS D6); which of them is worth another attempt is the failure
table's business, not this module's.
"""

from __future__ import annotations

from typing import Final

from services.worker.providers.errors.read_error import ProviderError

__all__ = [
    "ENDED_BY_NEWLINE",
    "NEVER_DONE",
    "NO_REASON",
    "REASON_ON_EVERY",
    "BrokenStream",
    "MalformedChunk",
    "MalformedReply",
    "ProviderErrorEvent",
    "SseTooLarge",
    "SseTruncated",
    "WireError",
]


def _switch(habit: str, setting: str) -> str:
    return f"; if this provider {habit}, set stream: {{{setting}}} for it in the catalogue"


# What the message of a stream ends with that would be whole under another stream format.
NEVER_DONE: Final = _switch("never sends it", "done: optional")
NO_REASON: Final = _switch("never sends one", "finish_reason: optional")
REASON_ON_EVERY: Final = _switch("puts one on every chunk", "finish_reason: every")
ENDED_BY_NEWLINE: Final = _switch("ends its events with one newline", "event_end: newline")


class WireError(Exception):
    """The provider's bytes are not the answer they claim to be."""


class SseTruncated(WireError):
    """The stream ended inside an event."""


class SseTooLarge(WireError):
    """One event is larger than the reader's bound."""


class MalformedChunk(WireError):
    """An event of the stream is not a chat completion chunk."""


class BrokenStream(WireError):
    """The stream ended, but not the way a complete answer ends."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MalformedReply(WireError):
    """A body that was to be a whole chat completion is not a complete one."""


class ProviderErrorEvent(WireError):
    """The provider reported an error inside a stream that had begun with status 200."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(f"{error.code}: {error.message}" if error.code else error.message)
        self.error = error
