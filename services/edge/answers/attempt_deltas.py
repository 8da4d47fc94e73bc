"""The pieces of a streamed answer that is to be sent whole."""

from __future__ import annotations

from penstock.contract.reply import Delta, ReplyEvent, Restarted

__all__ = ["AttemptDeltas"]


class AttemptDeltas:
    """The deltas of the last attempt."""

    def __init__(self) -> None:
        self.list: list[Delta] = []

    def add(self, event: ReplyEvent) -> None:
        if isinstance(event, Restarted):
            self.list.clear()
        elif isinstance(event, Delta):
            self.list.append(event)
