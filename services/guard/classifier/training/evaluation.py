"""Recall and false alarms by language, and the threshold for few of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["Quality", "quality", "threshold_for"]

FALSE_ALARMS = 0.01


class Quality(Struct, frozen=True):
    attacks: int
    found: int
    harmless: int
    false_alarms: int

    @property
    def recall(self) -> float:
        return self.found / self.attacks

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false_alarms)


def quality(
    rates: NDArray[np.float32], attacks: NDArray[np.bool_], languages: Sequence[str], threshold: float
) -> dict[str, Quality]:
    """By language."""
    alarm = rates >= threshold
    found = {}
    for language in sorted(set(languages)):
        of = np.array(languages) == language
        found[language] = Quality(
            int((of & attacks).sum()),
            int((of & attacks & alarm).sum()),
            int((of & ~attacks).sum()),
            int((of & ~attacks & alarm).sum()),
        )
    return found


def threshold_for(
    rates: NDArray[np.float32],
    attacks: NDArray[np.bool_],
    languages: Sequence[str],
    everyday: NDArray[np.float32],
) -> float:
    """The lowest threshold with at most one false alarm in a hundred harmless texts of each language, and none in the
    texts whose rates are `everyday`.
    """
    lowest = [everyday.max()]
    for language in set(languages):
        harmless = np.sort(rates[(np.array(languages) == language) & ~attacks])[::-1]
        lowest.append(harmless[int(FALSE_ALARMS * len(harmless))])
    return float(np.nextafter(max(lowest), np.float32(2)))
