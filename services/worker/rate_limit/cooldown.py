"""How long a 429 pauses the model it came from (REQUIREMENTS C4)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.worker.rate_limit.quota import QuotaKey

__all__ = ["CooldownLengths", "plausible_retry_s"]

_FIRST_S, _LONGEST_S = 0.1, 1.0
"""After a 429 that says when to come back: "now" shall not be asked in a loop, and from a second on its word wins."""
_FIRST_BARE_S, _LONGEST_BARE_S = 1.0, 8.0
"""After a 429 that does not say for how long; the longest is that of the backoff (REQUIREMENTS D2)."""
_LONGEST_SAID_S: Final = 3_600.0
"""A longer wait is cut to this, that of a limit per day too: when it is over one request goes first, so a word that is
true costs one call an hour, and a wrong one stops no request for a day."""
_SENSIBLE_S: Final = 86_400.0
"""No provider's limit spans more than a day: a longer word is a mistake, and as good as none."""
_DOUBLINGS: Final = 10
"""More than it takes from either first to its longest."""


class _Row(Struct):
    """The 429s of one (credential, model) without a success between them."""

    length: int = 0
    last_s: float = 0.0
    """When the last of them came."""


def plausible_retry_s(said_s: float | None) -> float | None:
    """The wait that a provider asks for, as far as it is believed; None: as if it had said nothing."""
    return None if said_s is None or said_s > _SENSIBLE_S else min(said_s, _LONGEST_SAID_S)


class CooldownLengths:
    """Counts 429s in a row; each lengthens what we add of our own. Instants are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._rows: dict[QuotaKey, _Row] = {}

    def pause_s(self, key: QuotaKey, said_s: float | None, *, began_s: float, now_s: float) -> float:
        """How long nobody shall ask from now on, after a 429 to a call that began at `began_s`.

        Not less than the provider said, nor than what doubles with each 429 in a row. Calls that were under way
        when the last 429 came teach nothing new: only what the provider said counts; 0 if that is nothing.
        """
        said_s = plausible_retry_s(said_s)
        row = self._rows.setdefault(key, _Row(last_s=began_s))
        if began_s < row.last_s:
            return said_s or 0.0
        first_s, longest_s = (_FIRST_BARE_S, _LONGEST_BARE_S) if said_s is None else (_FIRST_S, _LONGEST_S)
        least_s = min(longest_s, first_s * 2.0 ** min(row.length, _DOUBLINGS))
        row.length += 1
        row.last_s = now_s
        return max(said_s or 0.0, least_s)

    def succeeded(self, key: QuotaKey, *, began_s: float) -> None:
        """The row is over, unless the call began before its last 429."""
        row = self._rows.get(key)
        if row is not None and began_s >= row.last_s:
            del self._rows[key]
