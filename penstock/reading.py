"""How reply events are read, from wherever they come: in order, each once, nothing from a replaced sender."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from schemas.reply import NO_RESPONSE, TERMINAL, Completed, Failed, ReplyEvent, first_seq

__all__ = ["Reading"]


class Reading:
    """The position of one reader in one reply. Source of the rules: schemas/reply.py."""

    def __init__(self, after_seq: int = -1) -> None:
        self.last_seq = after_seq
        self.ended = False
        self.gap = False
        """Of what was picked from last, something had to be left behind a gap."""
        self.end_behind_gap = False
        """And the end of a streamed answer was among it."""

    def judge(self, event: ReplyEvent) -> Literal["next", "old", "gap"]:
        """next: take it. old: drop it. gap: something before it was missed."""
        if self.ended or event.seq <= self.last_seq:
            return "old"
        if event.seq == self.last_seq + 1 or event.seq == first_seq(event.attempt):
            return "next"
        return "gap"

    def take(self, event: ReplyEvent) -> None:
        """The event has been handed on."""
        self.last_seq = event.seq
        self.ended = isinstance(event, TERMINAL)

    def pick(self, events: Iterable[ReplyEvent]) -> Iterator[ReplyEvent]:
        """Those of `events` that can be handed on, in order, each taken as it is.

        Nothing is handed on from behind a gap, or an answer with a hole would look whole. The exceptions need
        nothing that came before them: the first event of an attempt, a failure, an answer in one piece.
        """
        self.gap = self.end_behind_gap = False
        for event in sorted(events, key=lambda event: event.seq):
            verdict = self.judge(event)
            if verdict == "next" or (verdict == "gap" and _stands_alone(event)):
                self.gap = self.end_behind_gap = False
                self.take(event)
                yield event
            elif verdict == "gap":
                self.gap = True
                self.end_behind_gap = isinstance(event, Completed)


def _stands_alone(event: ReplyEvent) -> bool:
    return isinstance(event, Failed) or (isinstance(event, Completed) and event.response != NO_RESPONSE)
