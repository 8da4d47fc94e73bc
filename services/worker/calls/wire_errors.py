"""What can be wrong with the bytes a provider sends: one tree, apart from what is wrong with the network.

None of these is ever an answer (REQUIREMENTS D6); which of them is worth another attempt is the failure
table's business, not this module's.
"""

from __future__ import annotations

from services.worker.calls.errors import ProviderError

__all__ = [
    "BrokenStream",
    "MalformedChunk",
    "MalformedReply",
    "ProviderErrorEvent",
    "SseTooLarge",
    "SseTruncated",
    "WireError",
]


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
