"""How reply events are read, from wherever they come: in order, each once, nothing from a replaced sender."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal

from msgspec.structs import replace

from penstock.contract.reply import (
    NO_RESPONSE,
    TERMINAL,
    Accepted,
    Completed,
    Failed,
    ReplyEvent,
    Restarted,
    first_seq,
)

__all__ = ["Reading", "last_if_beyond"]

_SAID: Final = (Accepted, Restarted)
"""Of an attempt that is told again: what its reader has heard already, or need not hear twice."""
_OVERRULED: Final = "another worker ended this request first; its answer stands"


class Reading:
    """The position of one reader in one reply. Source of the rules: penstock/contract/reply.py."""

    def __init__(self, after_seq: int = -1) -> None:
        self.last_seq = after_seq
        self.ended = False
        self._furthest_seq = -1
        self._end_seq = -1
        self._void = False
        """The stored end lies below what was read, and some of the answer before it is missing."""

    @property
    def gap(self) -> bool:
        """Something that was seen had to be left behind a gap, and has not been handed on since."""
        return self._void or self._furthest_seq > self.last_seq

    @property
    def end_behind_gap(self) -> bool:
        """The end of a streamed answer is among what was left."""
        return self._void or self._end_seq > self.last_seq

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

    def start_over(self, stored: Collection[ReplyEvent]) -> Iterator[ReplyEvent]:
        """The answer that stands, when the stored end lies below what was read: `restarted`, then its whole attempt.

        Two workers may hold one request for a while. The first end that is stored is the end for everybody, whatever
        the other has sent meanwhile under a higher attempt. What is handed on is numbered on from what was read, so
        that `seq` rises here too. Nothing, while some of it is missing.
        """
        ends = [event for event in stored if isinstance(event, TERMINAL)]
        if self.ended or not ends or any(end.seq > self.last_seq for end in ends):
            return
        end = ends[0]
        attempt = Reading(first_seq(end.attempt) - 1)
        answer = list(attempt.pick(event for event in stored if event.attempt == end.attempt))
        self._void = not attempt.ended
        if self._void:
            return
        again = Restarted(id=end.id, seq=0, attempt=end.attempt, code="internal", message=_OVERRULED)
        for event in (again, *(event for event in answer if not isinstance(event, _SAID))):
            told = replace(event, seq=self.last_seq + 1)
            self.take(told)
            yield told


def last_if_beyond(stored: Collection[ReplyEvent], after_seq: int) -> int | None:
    """The last `seq` of an ended reply, when `after_seq` is none that a reader of it can have; else None.

    Behind an end that lies below what a replaced worker has sent, the client numbers on: see `start_over`.
    """
    last = max(stored, key=lambda event: event.seq, default=None)
    if last is None or after_seq <= last.seq or not any(isinstance(event, TERMINAL) for event in stored):
        return None
    beyond = isinstance(last, TERMINAL) or after_seq >= first_seq(last.attempt + 1)
    return last.seq if beyond else None


def _stands_alone(event: ReplyEvent) -> bool:
    if event.seq == first_seq(event.attempt) or isinstance(event, Failed):
        return True
    return isinstance(event, Completed) and event.response != NO_RESPONSE
