"""Open holds, ended ones, and when each is due to expire or to be forgotten."""

from __future__ import annotations

import heapq
from typing import Final

from msgspec import Struct

from penstock.contract.ledger.policies import TrafficClass
from penstock.contract.names import Role

__all__ = [
    "MOST_PICOUSD",
    "MOST_TOKENS",
    "AttemptNumbers",
    "DueIds",
    "EndedHold",
    "Hold",
    "amount",
    "signed_amount",
    "token_count",
    "with_attempt",
]

MOST_PICOUSD: Final = 10**17
"""100,000 dollars, above which an amount of one request is an error: the hold is refused, the usage is not booked."""
MOST_TOKENS: Final = 2**40
"""The same for tokens."""
AttemptNumbers = tuple[int, ...]
_FIRST: Final[AttemptNumbers] = (1,)


def amount(value: int) -> int:
    """Picodollars of one request within the bounds: they neither lower a counter nor exceed its range."""
    return min(max(value, 0), MOST_PICOUSD)


def signed_amount(value: int) -> int:
    """The same for an amount that may be negative."""
    return min(max(value, -MOST_PICOUSD), MOST_PICOUSD)


def token_count(value: int) -> int:
    """Tokens of one request within the bounds."""
    return min(max(value, 0), MOST_TOKENS)


def with_attempt(attempts: AttemptNumbers, attempt: int) -> AttemptNumbers:
    return _FIRST if attempt == 1 and not attempts else (*attempts, attempt)


class Hold(Struct, array_like=True, gc=False):
    """The reservation of a request that has not ended."""

    account: str
    user: str
    key: str
    traffic: TrafficClass
    role: Role
    picousd: int
    """Reserved in all, what is settled included."""
    tokens: int
    at_ms: int
    """When it was granted or last raised: in the periods of this moment it counts."""
    deadline_ms: int
    time_zone: str
    spent_picousd: int = 0
    spent_tokens: int = 0
    attempts: AttemptNumbers = ()
    """Attempts that are booked."""

    def held_picousd(self) -> int:
        """What is reserved and not settled."""
        return max(0, self.picousd - self.spent_picousd)

    def held_tokens(self) -> int:
        return max(0, self.tokens - self.spent_tokens)


class EndedHold(Struct, array_like=True, gc=False):
    """What is kept of a hold after its end, so that late and repeated attempts are booked once and in its periods."""

    until_ms: int
    at_ms: int
    time_zone: str
    traffic: TrafficClass
    spent_picousd: int
    spent_tokens: int
    attempts: AttemptNumbers


class DueIds:
    """Ids by the second in which they are due."""

    def __init__(self) -> None:
        self._ids: dict[int, list[str]] = {}
        self._seconds: list[int] = []
        """The keys of `_ids`, as a heap."""

    def add(self, hold_id: str, due_ms: int) -> None:
        second = -(-due_ms // 1000)
        ids = self._ids.get(second)
        if ids is None:
            ids = self._ids[second] = []
            heapq.heappush(self._seconds, second)
        ids.append(hold_id)

    def take(self, now_ms: int) -> list[str]:
        """Remove and return what is due, in the order of its seconds."""
        found: list[str] = []
        while self._seconds and self._seconds[0] * 1000 <= now_ms:
            found += self._ids.pop(heapq.heappop(self._seconds))
        return found
