"""Finds the texts for which a provider refuses a whole batch: each half is tried, down to single texts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["Bisection", "Owner"]

Item = TypeVar("Item", bound=Hashable)
_REFUSED_PARTS: Final = 3
"""Refused parts of a batch, without an accepted one, after which single texts are tried; likewise those of one owner in
a row."""
_PROBES: Final = 8
"""Refused single texts of a user after which its other texts are not tried any more, if none of its texts was accepted;
likewise users of an account, and accounts, while nothing of the account, or of the batch, was accepted."""
_REFUSED_PER_ACCEPTED: Final = 4
"""Further refused texts of a user for each accepted one."""


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
        self._owners = {item: owner(item) for item in batch}
        self._parts: list[list[Item]] = [sorted(batch, key=self._owners.__getitem__)]
        """Texts of one owner stand together, so that halves soon have those of few owners."""
        self._random = random
        self._refused = 0
        """Parts, since the start or since texts were given up."""
        self._refused_in_row: Counter[Owner] = Counter()
        """Parts with texts of this owner only, since one with a text of it was accepted."""
        self._accepted: Counter[Owner] = Counter()
        """Texts."""
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
        return self._single_of(self._parts.pop(largest))

    def accepted(self, part: Sequence[Item]) -> None:
        """`part` was accepted."""
        owners = Counter(self._owners[item] for item in part)
        self._accepted.update(owners)
        for owner in owners:
            self._refused_in_row[owner] = 0

    def refused(self, part: Sequence[Item]) -> None:
        """`part` was refused because of its content; if it has several texts, its halves are tried."""
        self._refused += 1
        owner = self._owners[part[0]]
        self._refused_in_row[owner] += owner == self._owners[part[-1]]
        if len(part) == 1:
            self._refused_users[owner.account] += not self._refused_alone[owner]
            self._refused_alone[owner] += 1
            return
        middle = len(part) // 2
        self._parts += [list(part[:middle]), list(part[middle:])]

    def given_up(self) -> list[Item]:
        """Take out what is not tried any more: texts of owners of whom nearly everything is refused, whatever it is.
        What is left is tried together again.
        """
        if not self._refused_alone:
            return []
        accounts = {owner.account for owner in self._accepted}
        rest = [item for part in self._parts for item in part]
        owners = {self._owners[item] for item in rest}
        hopeless = {owner for owner in owners if self._is_given_up(owner, accounts)}
        given_up = [item for item in rest if self._owners[item] in hopeless]
        if given_up:
            left = [item for item in rest if self._owners[item] not in hopeless]
            self._parts = [left] if left else []
            self._refused = 0
        return given_up

    def _is_given_up(self, owner: Owner, accepted_accounts: set[str]) -> bool:
        if self._refused_alone[owner] >= _PROBES + _REFUSED_PER_ACCEPTED * self._accepted[owner]:
            return True
        if owner.account in accepted_accounts:
            return False
        refused_accounts = 0 if accepted_accounts else len(self._refused_users)
        return max(self._refused_users[owner.account], refused_accounts) >= _PROBES

    def _single_of(self, part: list[Item]) -> list[Item]:
        """`part`, or one text of it where all are of an owner of whom several parts in a row were refused."""
        owner = self._owners[part[0]]
        if owner != self._owners[part[-1]] or self._refused_in_row[owner] < _REFUSED_PARTS:
            return part
        single = part.pop(int(self._random() * len(part)))
        if part:
            self._parts.append(part)
        return [single]

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
