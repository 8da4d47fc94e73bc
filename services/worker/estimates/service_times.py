"""How long requests take here, how many calls and tokens they need: what the router foresees the queue's end by."""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import Final

from msgspec import Struct

__all__ = ["Calls", "Pace", "Tempo"]

_REMEMBERED: Final = 200
"""Of each role; so many latest requests are a minute's worth or less where it matters."""
_WITHIN: Final = 0.95
_WEIGHT: Final = 0.05
"""The share of the newest call in a model's mean tokens."""


class Calls(Struct):
    """The calls of one request so far."""

    made: int = 0
    waited_s: float = 0.0
    """For quota, a breaker or a backoff."""
    calling: bool = False
    """It has been let through to a provider, and needs no more quota unless that call fails."""


class Tempo(Struct, frozen=True):
    """Of a role's latest requests."""

    mean_s: float
    longest_s: float
    """19 of 20 stayed within it."""
    calls_each: float


class Pace:
    """Counts of this process since its start, and the latest requests of each role."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[tuple[float, int]]] = {}
        self._tokens: dict[str, float] = {}
        self._calling: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    def call_began(self, role: str, calls: Calls) -> None:
        calls.made += 1
        self._set_calling(role, calls, calling=True)

    def call_ended(self, model: str, tokens: int) -> None:
        """`tokens`: what the call used of the quota; a refused call uses none and teaches nothing."""
        if tokens > 0:
            mean = self._tokens.get(model, float(tokens))
            self._tokens[model] = mean + _WEIGHT * (tokens - mean)

    def call_failed(self, role: str, calls: Calls) -> None:
        """The request stands before the quota again."""
        self._set_calling(role, calls, calling=False)

    def ended(self, role: str, calls: Calls, held_s: float, *, cut: bool = False) -> None:
        """The request is over, which held a slot for so long. One that never came to a call says nothing of how long
        one takes, and waiting is not work.

        `cut`: before its own end. It would have taken longer, nobody knows how much: if it counted, requests would
        seem the quicker the more of them come too late, and the router would let in more.
        """
        self._set_calling(role, calls, calling=False)
        self._ended[role] += 1
        if not calls.made:
            return
        took_s = max(0.0, held_s - calls.waited_s)
        known = self.tempo(role) if cut else None
        if known is None or took_s >= known.mean_s:
            self._latest.setdefault(role, deque(maxlen=_REMEMBERED)).append((took_s, calls.made))

    def calling_now(self, role: str) -> int:
        return self._calling[role]

    def ended_count(self, role: str) -> int:
        return self._ended[role]

    def tempo(self, role: str) -> Tempo | None:
        """None: no request of the role has ended yet."""
        latest = self._latest.get(role)
        if not latest:
            return None
        times = sorted(took_s for took_s, _ in latest)
        return Tempo(
            mean_s=sum(times) / len(times),
            longest_s=times[ceil(_WITHIN * len(times)) - 1],
            calls_each=sum(calls for _, calls in latest) / len(latest),
        )

    def tokens_each(self, model: str) -> int:
        """Of the model's latest calls; 0: not known."""
        return round(self._tokens.get(model, 0.0))

    def _set_calling(self, role: str, calls: Calls, *, calling: bool) -> None:
        self._calling[role] += calling - calls.calling
        calls.calling = calling
