"""Texts that wait for a provider call, shared fairly between users. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from services.worker.embedding.request import Text

__all__ = ["BatchSize", "TextQueue"]


class BatchSize(Struct, frozen=True):
    """The most that one call takes."""

    inputs: int
    tokens: int


class TextQueue:
    """One queue for each user, and users take turns, a text at a time: however many texts one of them has, a text of
    another is in the next batch.
    """

    def __init__(self) -> None:
        self._flows: dict[str, deque[Text]] = {}
        """In the order of their turns."""
        self._tokens = 0
        self._texts = 0

    def __len__(self) -> int:
        """Texts that wait, those included that are not wanted any more."""
        return self._texts

    def add(self, flow: str, texts: Iterable[Text]) -> None:
        """`flow`: the account and user whose texts these are."""
        queue = self._flows.get(flow)
        if queue is None:
            queue = self._flows[flow] = deque()
        before = len(queue)
        queue.extend(texts)
        self._texts += len(queue) - before
        self._tokens += sum([queue[at].tokens for at in range(before, len(queue))])

    def fills(self, size: BatchSize) -> bool:
        """Whether there is enough for a whole batch."""
        return self._texts >= size.inputs or self._tokens >= size.tokens

    def take(self, size: BatchSize) -> list[Text]:
        """The next batch, marked as sent: one text at least, whatever its size. Empty: nothing is wanted."""
        batch: list[Text] = []
        tokens = 0
        if len(self._flows) == 1 and not self.fills(size):
            return self._take_all()
        while self._flows and len(batch) < size.inputs:
            flow, queue = next(iter(self._flows.items()))
            text = queue[0]
            if text.sent or not text.requests:
                self._drop(flow, queue)
                continue
            if batch and tokens + text.tokens > size.tokens:
                break
            text.sent = True
            batch.append(text)
            tokens += text.tokens
            self._drop(flow, queue)
            if queue and len(self._flows) > 1:
                self._flows[flow] = self._flows.pop(flow)  # to the end
        return batch

    def _take_all(self) -> list[Text]:
        (queue,) = self._flows.values()
        batch: list[Text] = []
        for text in queue:  # a text may be in it twice
            if not text.sent and text.requests:
                text.sent = True
                batch.append(text)
        self._flows.clear()
        self._tokens = self._texts = 0
        return batch

    def _drop(self, flow: str, queue: deque[Text]) -> None:
        self._tokens -= queue.popleft().tokens
        self._texts -= 1
        if not queue:
            del self._flows[flow]
