"""Finds the texts for which a provider refuses a whole batch: each half is tried, down to single texts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["Bisection", "Owner"]

Item = TypeVar("Item", bound=Hashable)
_REFUSED_PARTS: Final = 3
"""Refused parts of a batch, without an accepted one, after which single texts are tried."""
_PROBES: Final = 8
"""Refused single texts of a user, users of an account, or accounts, while nothing was accepted, after which the rest of
it is not tried any more."""


class Owner(NamedTuple):
    """Whose text it is."""

    account: str
    user: str


class Bisection(Generic[Item]):
    """The parts of one batch that are still to be tried."""

    def __init__(
        self, batch: Sequence[Item], random: Callable[[], float], owner: Callable[[Item], Owner]
    ) -> None:
        """`random`: returns numbers in [0, 1)."""
        self._parts: list[list[Item]] = [list(batch)]
        self._random = random
        self._owners = {item: owner(item) for item in batch}
        self._refused = 0
        self._accepted = False
        self._refused_alone: Counter[Owner] = Counter()
        self._refused_users: Counter[str] = Counter()
        """Users with a text that was refused alone, by account."""

    def next_part(self) -> list[Item]:
        """The part to try now; empty: there is none left."""
        if not self._parts:
            return []
        if self._refused >= _REFUSED_PARTS and not self._accepted:
            return [self._single()]
        largest = max(range(len(self._parts)), key=lambda at: len(self._parts[at]))
        return self._parts.pop(largest)

    def accepted(self) -> None:
        """The last part was accepted."""
        self._accepted = True

    def refused(self, part: Sequence[Item]) -> None:
        """`part` was refused because of its content; if it has several texts, its halves are tried."""
        self._refused += 1
        if len(part) == 1:
            owner = self._owners[part[0]]
            self._refused_users[owner.account] += not self._refused_alone[owner]
            self._refused_alone[owner] += 1
            return
        middle = len(part) // 2
        self._parts += [list(part[:middle]), list(part[middle:])]

    def given_up(self) -> list[Item]:
        """Take out what is not tried any more: texts of owners of whom everything is refused, whatever it is. What is
        left is tried together again.
        """
        if self._accepted or not self._refused_alone:
            return []
        rest = [item for part in self._parts for item in part]
        given_up = [item for item in rest if self._is_given_up(self._owners[item])]
        if given_up:
            without = set(given_up)
            left = [item for item in rest if item not in without]
            self._parts = [left] if left else []
            self._refused = 0
        return given_up

    def _is_given_up(self, owner: Owner) -> bool:
        refused = max(
            self._refused_alone[owner], self._refused_users[owner.account], len(self._refused_users)
        )
        return refused >= _PROBES

    def _single(self) -> Item:
        """A text of the account and user of which the fewest were refused."""
        rest = [item for part in self._parts for item in part]
        refused = [self._refused_of(item) for item in rest]
        fewest = min(refused)
        candidates = [item for item, count in zip(rest, refused, strict=True) if count == fewest]
        single = candidates[int(self._random() * len(candidates))]
        left = ([item for item in part if item is not single] for part in self._parts)
        self._parts = [part for part in left if part]
        return single

    def _refused_of(self, item: Item) -> tuple[int, int]:
        owner = self._owners[item]
        return self._refused_users[owner.account], self._refused_alone[owner]
