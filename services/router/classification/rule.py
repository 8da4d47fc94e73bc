"""One expression that gives a subject away, and when it is worth running."""

from __future__ import annotations

import re

from msgspec import Struct

from services.router.classification.vocabulary import Topic

__all__ = ["Clue", "clue"]


class Clue(Struct, frozen=True, eq=False):
    """An expression, what it speaks for, with how many points, and how to call it before a person.

    It runs only where one of its needles occurs, so that ordinary prose costs a few substring searches.
    """

    topic: Topic
    points: int
    label: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


def clue(topic: Topic, points: int, label: str, needles: str, pattern: str) -> Clue:
    """A clue whose `needles` stand with `|` between them; `^` and `$` in `pattern` match at each line.

    Keep every repetition bounded, so that the time over a hostile text stays proportional to its length; and
    begin with the rarest character, looking behind from there, as the scan for it is what costs.
    """
    return Clue(topic, points, label, tuple(needles.split("|")), re.compile(pattern, re.MULTILINE))
