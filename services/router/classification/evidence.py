"""Points and evidence for each topic of a text: code, mathematics, debugging, design.

Words are looked up in one table, so the cost does not grow with the vocabulary.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from services.router.classification.normalize import compose, fold
from services.router.classification.rules import PATTERNS, PHRASES, Rule
from services.router.classification.vocabulary import LANGUAGES, Topic

__all__ = ["Evidence", "TopicEvidence", "collect_evidence"]

_ENOUGH: Final = 2
"""Points from which a text is taken to be about a topic."""
_STEM_LETTERS: Final = 4
_LABELS_SHOWN: Final = 3
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


class TopicEvidence(Struct, frozen=True):
    """Evidence for one topic. `strongest` is the points of the heaviest single item."""

    points: int = 0
    strongest: int = 0
    labels: tuple[str, ...] = ()
    """Labels for a person, the heaviest first: "a traceback", "'solve'"."""

    @property
    def enough(self) -> bool:
        return self.points >= _ENOUGH


_NOTHING: Final = TopicEvidence()


class Evidence(Struct, frozen=True):
    """Evidence per topic."""

    code: TopicEvidence = field(default_factory=TopicEvidence)
    maths: TopicEvidence = field(default_factory=TopicEvidence)
    debugging: TopicEvidence = field(default_factory=TopicEvidence)
    design: TopicEvidence = field(default_factory=TopicEvidence)


class _Entry(Struct, frozen=True, eq=False):
    """One word or stem with its points per topic; words that share an entry count once."""

    counts: tuple[tuple[Topic, int], ...]


_Whole = dict[str, _Entry]
_Stems = dict[str, tuple[tuple[str, _Entry], ...]]
_Needles = tuple[tuple[str, Rule], ...]
_Tally = dict[Topic, list[tuple[int, str]]]


def collect_evidence(text: str) -> Evidence:
    """The evidence in `text`, whose length the caller bounds."""
    text = compose(text)
    folded = fold(text)
    tally: _Tally = {"code": [], "maths": [], "debugging": [], "design": []}
    _add_rules(tally, _PATTERN_NEEDLES, text)
    _add_rules(tally, _PHRASE_NEEDLES, folded)
    if not folded.isascii():
        _add_rules(tally, _NON_ASCII_PHRASE_NEEDLES, folded)
    _add_words(tally, text, folded)
    return Evidence(*[_topic_evidence(found) if found else _NOTHING for found in tally.values()])


def _add_rules(tally: _Tally, needles: _Needles, text: str) -> None:
    tried = set()
    for needle, rule in needles:
        if needle in text and rule not in tried:
            tried.add(rule)
            if rule.pattern.search(text):
                tally[rule.topic].append((rule.points, rule.label))


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


def _topic_evidence(found: list[tuple[int, str]]) -> TopicEvidence:
    found.sort(key=lambda item: -item[0])
    labels = dict.fromkeys([label for points, label in found if points > 0])
    return TopicEvidence(sum([points for points, _ in found]), found[0][0], tuple(labels)[:_LABELS_SHOWN])


def _table() -> tuple[_Whole, _Stems]:
    """Whole words, and stems by their first four letters, longest stem first."""
    whole: _Whole = {}
    stems: dict[str, list[tuple[str, _Entry]]] = {}
    for spelling, counts in _points_by_spelling().items():
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


def _points_by_spelling() -> dict[str, dict[Topic, int]]:
    """Points per spelling of the vocabulary; a word of two languages has the higher points."""
    listed: dict[str, dict[Topic, int]] = {}
    for words in LANGUAGES:
        for name, (topic, points) in _POINTS.items():
            for spelling in fold(getattr(words, name)).split():
                counts = listed.setdefault(spelling, {})
                counts[topic] = max(points, counts.get(topic, points))
    return listed


def _needles(rules: Iterable[Rule]) -> _Needles:
    return tuple((needle, rule) for rule in rules for needle in rule.needles)


def _is_ascii(rule: Rule) -> bool:
    return any(needle.isascii() for needle in rule.needles)


_WHOLE, _STEMS = _table()
_PATTERN_NEEDLES: Final = _needles(PATTERNS)
_PHRASE_NEEDLES: Final = _needles(filter(_is_ascii, PHRASES))
_NON_ASCII_PHRASE_NEEDLES: Final = _needles(itertools.filterfalse(_is_ascii, PHRASES))
