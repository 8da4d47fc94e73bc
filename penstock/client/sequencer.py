"""Order the events of a reply from any source: each once, in order, none from a replaced worker."""

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

__all__ = ["ReplySequencer", "last_seq_if_beyond"]

_NOT_REPEATED: Final = (Accepted, Restarted)
"""Events that are left out when a whole attempt is delivered a second time."""
_OVERRULED: Final = "another worker ended this request first; its answer stands"


class ReplySequencer:
    """The position of one reader in one reply. The rules are those of penstock/contract/reply.py."""

    def __init__(self, after_seq: int = -1) -> None:
        self.last_seq = after_seq
        self.ended = False
        self._furthest_seq = -1
        self._end_seq = -1
        self._incomplete = False
        """The stored end lies below the position of the reader, and some of the answer before it is missing."""

    @property
    def has_gap(self) -> bool:
        """An event was seen behind a gap and has not been delivered since."""
        return self._incomplete or self._furthest_seq > self.last_seq

    @property
    def end_behind_gap(self) -> bool:
        """The end of a streamed answer is among the events behind the gap."""
        return self._incomplete or self._end_seq > self.last_seq

    def classify(self, event: ReplyEvent) -> Literal["next", "old", "gap"]:
        """next: deliver it. old: drop it. gap: an earlier event is missing, even if only `accepted`."""
        if self.ended or event.seq <= self.last_seq:
            return "old"
        begins = event.seq == first_seq(event.attempt) and self.last_seq >= 0
        return "next" if begins or event.seq == self.last_seq + 1 else "gap"

    def take(self, event: ReplyEvent) -> bool:
        """Whether `event` is the next one; the position moves to it then."""
        if self.ended or (event.seq != self.last_seq + 1 and self.classify(event) != "next"):
            return False
        self.last_seq = event.seq
        self.ended = isinstance(event, TERMINAL)
        return True

    def deliver(self, events: Iterable[ReplyEvent]) -> Iterator[ReplyEvent]:
        """Those of `events` that can be delivered, in order; the position moves with each.

        No event is delivered from behind a gap, or an answer with a hole would look whole. The exceptions depend on no
        earlier event: the first event of an attempt, a failure, and an answer in one piece.
        """
        for event in sorted(events, key=lambda event: event.seq):
            place = self.classify(event)
            if place == "next" or (place == "gap" and _stands_alone(event)):
                self._advance(event)
                yield event
            elif place == "gap":
                self._furthest_seq = max(self._furthest_seq, event.seq)
                if isinstance(event, Completed):
                    self._end_seq = event.seq

    def deliver_valid_attempt(self, stored: Collection[ReplyEvent]) -> Iterator[ReplyEvent]:
        """When the stored end lies below the position: `restarted`, then the whole attempt that ended the request.

        Two workers may hold one request for a while. The first end that is stored is the end for every reader, whatever
        the other worker has sent meanwhile under a higher attempt. The events continue the numbering of the reader,
        so that `seq` rises here too. Yields nothing while some of the attempt is missing.
        """
        ends = [event for event in stored if isinstance(event, TERMINAL)]
        if self.ended or not ends or any(end.seq > self.last_seq for end in ends):
            return
        end = ends[0]
        attempt = ReplySequencer(first_seq(end.attempt) - 1)
        answer = list(attempt.deliver(event for event in stored if event.attempt == end.attempt))
        self._incomplete = not attempt.ended
        if self._incomplete:
            return
        again = Restarted(id=end.id, seq=0, attempt=end.attempt, code="internal", message=_OVERRULED)
        for event in (again, *(event for event in answer if not isinstance(event, _NOT_REPEATED))):
            renumbered = replace(event, seq=self.last_seq + 1)
            self._advance(renumbered)
            yield renumbered

    def _advance(self, event: ReplyEvent) -> None:
        self.last_seq = event.seq
        self.ended = isinstance(event, TERMINAL)


def last_seq_if_beyond(stored: Collection[ReplyEvent], after_seq: int) -> int | None:
    """The last `seq` of an ended reply if no reader of it can have reached `after_seq`; else None.

    A reader can pass the stored end where a replaced worker had sent events of a higher attempt: see
    `deliver_valid_attempt`.
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
