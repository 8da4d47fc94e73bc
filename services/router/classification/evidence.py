"""What a text gives away of its subject: points and evidence per topic.

Words are looked up in a table, not searched for one by one: the cost does not grow with the vocabulary.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from services.router.classification.normalize import composed, fold
from services.router.classification.patterns import SHAPES
from services.router.classification.phrases import PHRASES
from services.router.classification.rule import Clue
from services.router.classification.vocabulary import LANGUAGES, Topic

__all__ = ["Finding", "Signs", "look"]

_ENOUGH: Final = 2
"""The points that make a subject."""
_STEM_LETTERS: Final = 4
_EVIDENCE_SHOWN: Final = 3
_WORD: Final = re.compile(r"\w+")
_POINTS: Final[dict[str, tuple[Topic, int]]] = {
    "code": ("code", 2),
    "code_weak": ("code", 1),
    "not_code": ("code", -2),
    "maths": ("maths", 2),
    "maths_weak": ("maths", 1),
    "not_maths": ("maths", -2),
    "debugging": ("debugging", 1),
    "design": ("design", 1),
}


class Finding(Struct, frozen=True):
    """What speaks for one topic. `strongest` is the weightiest single clue."""

    points: int = 0
    strongest: int = 0
    evidence: tuple[str, ...] = ()
    """The weightiest first, named as a person would: "a traceback", "'solve'"."""

    @property
    def enough(self) -> bool:
        return self.points >= _ENOUGH


_NOTHING: Final = Finding()


class Signs(Struct, frozen=True):
    """One finding per topic."""

    code: Finding = field(default_factory=Finding)
    maths: Finding = field(default_factory=Finding)
    debugging: Finding = field(default_factory=Finding)
    design: Finding = field(default_factory=Finding)


class _Entry(Struct, frozen=True, eq=False):
    """One word or stem; words that share an entry count once."""

    counts: tuple[tuple[Topic, int], ...]


_Whole = dict[str, _Entry]
_Stems = dict[str, tuple[tuple[str, _Entry], ...]]
_Needles = tuple[tuple[str, Clue], ...]
_Tally = dict[Topic, list[tuple[int, str]]]


def look(text: str) -> Signs:
    """The signs in `text`, which the caller keeps to a bounded length."""
    text = composed(text)
    folded = fold(text)
    tally: _Tally = {"code": [], "maths": [], "debugging": [], "design": []}
    _add_clues(tally, _SHAPES, text)
    _add_clues(tally, _PHRASES, folded)
    if not folded.isascii():
        _add_clues(tally, _PHRASES_BEYOND_ASCII, folded)
    _add_words(tally, text, folded)
    return Signs(*[_finding(found) if found else _NOTHING for found in tally.values()])


def _add_clues(tally: _Tally, needles: _Needles, text: str) -> None:
    tried = set()
    for needle, clue in needles:
        if needle in text and clue not in tried:
            tried.add(clue)
            if clue.pattern.search(text):
                tally[clue.topic].append((clue.points, clue.label))


def _add_words(tally: _Tally, text: str, folded: str) -> None:
    counted = set()
    for word in dict.fromkeys(_WORD.findall(folded)):
        entry = _WHOLE.get(word)
        if entry is None and (group := _STEMS.get(word[:_STEM_LETTERS])):
            entry = _stem(word, group)
        if entry is None or entry in counted:
            continue
        counted.add(entry)
        # Folding keeps every letter's place, so the word can be shown as it was written.
        at = folded.find(word)
        label = f"'{text[at : at + len(word)]}'"
        for topic, points in entry.counts:
            tally[topic].append((points, label))


def _stem(word: str, group: tuple[tuple[str, _Entry], ...]) -> _Entry | None:
    for stem, entry in group:
        if word.startswith(stem):
            return entry
    return None


def _finding(found: list[tuple[int, str]]) -> Finding:
    found.sort(key=lambda item: -item[0])
    evidence = dict.fromkeys([label for points, label in found if points > 0])
    return Finding(sum([points for points, _ in found]), found[0][0], tuple(evidence)[:_EVIDENCE_SHOWN])


def _table() -> tuple[_Whole, _Stems]:
    """Whole words, and stems by their first four letters, the longest first."""
    whole: _Whole = {}
    stems: dict[str, list[tuple[str, _Entry]]] = {}
    for spelling, counts in _listed().items():
        entry = _Entry(tuple(counts.items()))
        word, bracket, ending = spelling.rstrip("*)").partition("(")
        if spelling.endswith("*"):
            stems.setdefault(word[:_STEM_LETTERS], []).append((word, entry))
        elif bracket:
            whole[word] = whole[word + ending] = entry
        else:
            whole[word] = entry
    longest_first = {
        start: tuple(sorted(group, key=lambda item: -len(item[0]))) for start, group in stems.items()
    }
    return whole, longest_first


def _listed() -> dict[str, dict[Topic, int]]:
    """Every spelling of the vocabulary with its points; a word two languages share has the higher."""
    listed: dict[str, dict[Topic, int]] = {}
    for words in LANGUAGES:
        for name, (topic, points) in _POINTS.items():
            for spelling in fold(getattr(words, name)).split():
                counts = listed.setdefault(spelling, {})
                counts[topic] = max(points, counts.get(topic, points))
    return listed


def _needles(clues: Iterable[Clue]) -> _Needles:
    return tuple((needle, clue) for clue in clues for needle in clue.needles)


def _plain(clue: Clue) -> bool:
    return any(needle.isascii() for needle in clue.needles)


_WHOLE, _STEMS = _table()
_SHAPES: Final = _needles(SHAPES)
_PHRASES: Final = _needles(filter(_plain, PHRASES))
_PHRASES_BEYOND_ASCII: Final = _needles(itertools.filterfalse(_plain, PHRASES))
