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
        self._furthest_seq = -1
        self._end_seq = -1

    @property
    def gap(self) -> bool:
        """Something that was seen had to be left behind a gap, and has not been handed on since."""
        return self._furthest_seq > self.last_seq

    @property
    def end_behind_gap(self) -> bool:
        """The end of a streamed answer is among what was left."""
        return self._end_seq > self.last_seq

    def judge(self, event: ReplyEvent) -> Literal["next", "old", "gap"]:
        """next: take it. old: drop it. gap: something before it was missed, be it only `accepted`."""
        if self.ended or event.seq <= self.last_seq:
            return "old"
        begins = event.seq == first_seq(event.attempt) and self.last_seq >= 0
        return "next" if begins or event.seq == self.last_seq + 1 else "gap"

    def take(self, event: ReplyEvent) -> None:
        """The event has been handed on."""
        self.last_seq = event.seq
        self.ended = isinstance(event, TERMINAL)

    def pick(self, events: Iterable[ReplyEvent]) -> Iterator[ReplyEvent]:
        """Those of `events` that can be handed on, in order, each taken as it is.

        Nothing is handed on from behind a gap, or an answer with a hole would look whole. The exceptions need
        nothing that came before them: the first event of an attempt, a failure, an answer in one piece.
        """
        for event in sorted(events, key=lambda event: event.seq):
            verdict = self.judge(event)
            if verdict == "next" or (verdict == "gap" and _stands_alone(event)):
                self.take(event)
                yield event
            elif verdict == "gap":
                self._furthest_seq = max(self._furthest_seq, event.seq)
                if isinstance(event, Completed):
                    self._end_seq = event.seq


def _stands_alone(event: ReplyEvent) -> bool:
    if event.seq == first_seq(event.attempt) or isinstance(event, Failed):
        return True
    return isinstance(event, Completed) and event.response != NO_RESPONSE
