"""Finds the texts for which a provider refuses a whole batch: each half is tried, down to single texts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Bisection"]

Item = TypeVar("Item")
_REFUSED_PARTS: Final = 3
"""Refused parts of a batch, without an accepted one, after which single texts are tried."""
_PROBES: Final = 8
"""Single texts, chosen at random, that are refused while nothing was accepted: then everything is refused, and no more
calls are made."""


class Bisection(Generic[Item]):
    """The parts of one batch that are still to be tried."""

    def __init__(self, batch: Sequence[Item], random: Callable[[], float]) -> None:
        """`random`: returns numbers in [0, 1)."""
        self._parts: list[list[Item]] = [list(batch)]
        self._random = random
        self._refused = 0
        self._refused_alone = 0
        self._accepted = False

    @property
    def refuses_all(self) -> bool:
        """The refusals do not depend on the text."""
        return not self._accepted and self._refused_alone >= _PROBES

    def next_part(self) -> list[Item]:
        """The part to try now; empty: there is none left."""
        if not self._parts:
            return []
        if self._refused >= _REFUSED_PARTS and not self._accepted:
            return [self._single()]
        largest = max(range(len(self._parts)), key=lambda at: len(self._parts[at]))
        return self._parts.pop(largest)

    def rest(self) -> list[Item]:
        """Everything that was not tried."""
        rest = [item for part in self._parts for item in part]
        self._parts.clear()
        return rest

    def accepted(self) -> None:
        """The last part was accepted."""
        self._accepted = True

    def refused(self, part: Sequence[Item]) -> None:
        """`part` was refused because of its content; if it has several texts, its halves are tried."""
        self._refused += 1
        if len(part) == 1:
            self._refused_alone += 1
            return
        middle = len(part) // 2
        self._parts += [list(part[:middle]), list(part[middle:])]

    def _single(self) -> Item:
        part = self._parts[int(self._random() * len(self._parts))]
        item = part.pop(int(self._random() * len(part)))
        if not part:
            self._parts.remove(part)
        return item
