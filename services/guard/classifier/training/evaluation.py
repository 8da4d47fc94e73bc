"""Recall at one false alarm in a hundred, by language."""

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


def threshold_for(rates: NDArray[np.float32], attacks: NDArray[np.bool_]) -> float:
    """The lowest threshold with at most one false alarm in a hundred harmless texts."""
    harmless = np.sort(rates[~attacks])[::-1]
    return float(np.nextafter(harmless[int(FALSE_ALARMS * len(harmless))], np.float32(2)))
