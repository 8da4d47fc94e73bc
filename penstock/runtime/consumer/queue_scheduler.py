"""Schedules pull requests among many queues of two lanes, so that a long one delays no other. Pure.

Every queue that is not known to hold messages keeps a long poll for a few messages open, whatever the others do: its
next messages arrive at once. The queues known to hold messages share the free slots in turns of up to TURN messages;
those of the interactive lane come first, but of every EVERY turns at least one is of the batch lane while it waits.
The batch lane has at most half of the slots, so that its messages stop no others, however long they take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.runtime.consumer.scheduler import EVERY, LONG_POLL_S, PullRequest, Source

__all__ = ["POLL_BATCH", "TURN", "QueueScheduler"]

POLL_BATCH: Final = 8
"""Messages of a long poll: a queue with few messages needs one request for so many of them."""
TURN: Final = 32
"""Messages requested at once from a queue that is known to hold so many."""


class QueueScheduler:
    """Decides what to request from `interactive` queues and from the `batch` ones behind them.

    The messages requested and in flight never exceed `slots` plus POLL_BATCH for each queue.
    """

    def __init__(self, interactive: int, batch: int) -> None:
        self._interactive = interactive
        self._order = list(range(interactive + batch))
        """The queues by their last turn, the latest last."""
        self._passed = 0
        """Turns of the interactive lane since the last one of the batch lane, while that waited."""
        self.wants_more = False
        """At the last decision some queue could use more slots: decide again when some are free."""

    def requests(self, sources: Sequence[Source], slots: int, held: Sequence[int]) -> list[PullRequest]:
        """What to request now, with so many messages of each queue in flight."""
        first = self._interactive
        free = slots - sum(held) - _coming(sources)
        free_of_batch = slots // 2 - sum(held[first:]) - _coming(sources[first:])
        asked: list[PullRequest] = []
        lanes: tuple[list[int], list[int]] = ([], [])
        for queue in self._order:
            source = sources[queue]
            if source.outstanding:
                continue
            if source.pending == 0:
                asked.append(PullRequest(queue, POLL_BATCH, LONG_POLL_S))
            else:
                lanes[queue >= first].append(queue)
        self.wants_more = False
        while (following := self._next(*lanes)) is not None:
            batch = min(TURN, sources[following].pending)
            # Never a part of a turn: each message would need a request of its own.
            if batch > free:
                self.wants_more = True
                break
            if following >= first and batch > free_of_batch:
                self.wants_more = True
                lanes[1].clear()
                continue
            free -= batch
            free_of_batch -= batch if following >= first else 0
            asked.append(PullRequest(following, batch, 0.0))
            self._record_turn(following, lanes)
        return asked

    def _next(self, interactive: list[int], batch: list[int]) -> int | None:
        """The queue whose turn it is; None where no queue waits."""
        if batch and (not interactive or self._passed >= EVERY - 1):
            return batch[0]
        return interactive[0] if interactive else None

    def _record_turn(self, queue: int, lanes: tuple[list[int], list[int]]) -> None:
        is_batch = queue >= self._interactive
        self._passed = self._passed + 1 if lanes[1] and not is_batch else 0
        lanes[is_batch].remove(queue)
        self._order.remove(queue)
        self._order.append(queue)


def _coming(sources: Sequence[Source]) -> int:
    """Messages that were requested and are stored. A long poll takes no slot: its queue was empty."""
    return sum(source.outstanding for source in sources if not source.long_poll)
