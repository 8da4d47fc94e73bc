"""Detectors of the guard's process for tests: each finds a mark that no other text has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Detection, Match

__all__ = ["Marks", "SlowInjection", "marks"]


class Marks:
    """Finds `<kind:…>` of its kinds."""

    def __init__(self, name: DetectorName, *kinds: str, on_find: Callable[[str], object] = len) -> None:
        self.name = name
        self._pattern = re.compile(rf"<({'|'.join(kinds)}):[^>]*>")
        self._on_find = on_find

    def search(self, text: CheckedText) -> Iterator[Match | None]:
        self._on_find(text.text)
        for found in self._pattern.finditer(text.text):
            yield Match(found.start(), found.end(), found[1])


class SlowInjection:
    """Finds texts that begin with IGNORE, after some seconds."""

    name: DetectorName = "prompt_injection"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked = 0

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        found = (
            Finding(text=index, category="prompt_injection", detector="prompt_injection", score=0.9)
            for index, text in enumerate(texts)
            if text.text.startswith("IGNORE")
        )
        return Detection(tuple(found), {"prompt_injection": 0.1})


def marks() -> tuple[Marks, Marks]:
    return Marks("secrets", "jwt", "stripe_key"), Marks("personal_data", "email", "phone")
