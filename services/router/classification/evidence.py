"""Points and evidence for each topic of a text: code, mathematics, debugging, design.

The text is split into its different words once. Words of the vocabulary, and rules with a needle that begins a word,
are found from these: the cost hardly grows with their number, and less than in proportion to the text. Other needles
are searched for one by one.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from msgspec import Struct

from services.router.classification.normalize import compose, fold
from services.router.classification.rules import PATTERNS, PHRASES, Needle, Rule
from services.router.classification.vocabulary import Topic, points_by_spelling

__all__ = ["Evidence", "TopicEvidence"]

_ENOUGH: Final = 2
"""Points from which a text is taken to be about a topic."""
_START_LETTERS: Final = 4
"""Letters by which a stem or a needle is looked up among the words of a text."""
_COMMON: Final = " etaoinshrdlcumwfgypbvkjxqz"
"""The characters of English prose, the most frequent first."""
_LABELS_SHOWN: Final = 3
_TYPOGRAPHIC: Final = "“”‘–—…•·→«»\xa0"
"""What makes English prose non-ASCII, and belongs to no word."""
_WORD: Final = re.compile(r"\w+")
_SPACES: Final = [chr(code) if _WORD.match(chr(code)) else " " for code in range(128)]
"""For each ASCII character itself, or a space where it belongs to no word."""


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


class Evidence:
    """Evidence in `text`, whose length the caller bounds. What is never read is not searched for."""

    def __init__(self, text: str) -> None:
        self._text = text if text.isascii() else compose(text)

    @property
    def code(self) -> TopicEvidence:
        return self._complexity_topics["code"]

    @property
    def debugging(self) -> TopicEvidence:
        return self._complexity_topics["debugging"]

    @property
    def design(self) -> TopicEvidence:
        return self._complexity_topics["design"]

    @cached_property
    def maths(self) -> TopicEvidence:
        return self._found(_MATHS)["maths"]

    @cached_property
    def _complexity_topics(self) -> dict[Topic, TopicEvidence]:
        return self._found(_COMPLEXITY)

    @cached_property
    def _folded(self) -> str:
        return fold(self._text)

    @cached_property
    def _words(self) -> dict[str, None]:
        """The different words, folded, in their order."""
        return dict.fromkeys(_split(self._folded))

    @cached_property
    def _starts(self) -> set[str]:
        return {word[:_START_LETTERS] for word in self._words}

    @cached_property
    def _of_words(self) -> _Tally:
        return _of_words(self._words, self._text, self._folded)

    def _found(self, rules: _TopicRules) -> dict[Topic, TopicEvidence]:
        tally: _Tally = {topic: [] for topic in rules.topics}
        rules.patterns.add(tally, self._text, self._starts)
        rules.phrases.add(tally, self._folded, self._starts)
        if not self._folded.isascii():
            rules.non_ascii_phrases.add(tally, self._folded, self._starts)
        return {topic: _topic_evidence(found + self._of_words[topic]) for topic, found in tally.items()}


class _Entry(Struct, frozen=True, eq=False):
    """One word or stem with its points per topic; words that share an entry count once."""

    counts: tuple[tuple[Topic, int], ...]


_Whole = dict[str, _Entry]
_Stems = dict[str, tuple[tuple[str, _Entry], ...]]
_Found = list[tuple[int, str]]
"""Points and labels."""
_Tally = dict[Topic, _Found]
_Needles = dict[str, list[tuple[str, int]]]
"""Needles, each with the index of its rule, by their first letters or by their rarest character."""


class _NeedleIndex:
    """Rules by what a text has to contain before one of their needles is searched for in it.

    For a needle that begins a word this is a word of the text that begins alike; for others it is the rarest character
    of the needle.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._by_start: _Needles = defaultdict(list)
        ascii_needles: _Needles = defaultdict(list)
        other_needles: _Needles = defaultdict(list)
        for index, rule in enumerate(self._rules):
            for needle in rule.needles:
                if start := _start(needle):
                    self._by_start[start].append((needle.text, index))
                else:
                    by_character = ascii_needles if needle.text.isascii() else other_needles
                    by_character[_rarest(needle.text)].append((needle.text, index))
        self._ascii = tuple(ascii_needles.items())
        self._all = (*self._ascii, *other_needles.items())

    def add(self, tally: _Tally, text: str, starts: set[str]) -> None:
        """Add what the rules find in `text`, in their order. `starts`: the first letters of its words."""
        tried: dict[int, list[str]] = {}
        for start in self._by_start.keys() & starts:
            _add_needles(tried, self._by_start[start], text)
        for character, needles in self._ascii if text.isascii() else self._all:
            if character in text:
                _add_needles(tried, needles, text)
        for index, found in sorted(tried.items()):
            rule = self._rules[index]
            if rule.occurs(text, found):
                tally[rule.topic].append((rule.points, rule.label))


class _TopicRules:
    """The rules of some topics."""

    def __init__(self, *topics: Topic) -> None:
        self.topics = topics
        phrases = [rule for rule in PHRASES if rule.topic in topics]
        self.patterns = _NeedleIndex(rule for rule in PATTERNS if rule.topic in topics)
        self.phrases = _NeedleIndex(filter(_is_ascii, phrases))
        self.non_ascii_phrases = _NeedleIndex(itertools.filterfalse(_is_ascii, phrases))


def _add_needles(tried: dict[int, list[str]], needles: list[tuple[str, int]], text: str) -> None:
    """Add those of `needles` that are in `text`, by the index of their rule."""
    for needle, index in needles:
        if needle in text:
            tried.setdefault(index, []).append(needle)


def _of_words(words: Iterable[str], text: str, folded: str) -> _Tally:
    tally: _Tally = {"code": [], "maths": [], "debugging": [], "design": []}
    counted = set()
    for word in [each for each in words if each in _WHOLE or each[:_START_LETTERS] in _STEMS]:
        entry = _WHOLE.get(word) or _stem(word, _STEMS.get(word[:_START_LETTERS], ()))
        if entry is None or entry in counted:
            continue
        counted.add(entry)
        # Folding keeps every letter's place, so the word can be shown as it was written.
        at = folded.find(word)
        label = f"'{text[at : at + len(word)]}'"
        for topic, points in entry.counts:
            tally[topic].append((points, label))
    return tally


def _split(folded: str) -> list[str]:
    """The words; of ASCII text in a third of the time of the regular expression."""
    if not folded.isascii():
        for character in _TYPOGRAPHIC:
            folded = folded.replace(character, " ")
    return folded.translate(_SPACES).split() if folded.isascii() else _WORD.findall(folded)


def _start(needle: Needle) -> str:
    """The first letters of every word that begins with `needle`; empty where they are unknown, or begin no word."""
    run = _WORD.match(fold(needle.text)) if needle.begins_word else None
    if run is None or (run.end() == len(needle.text) < _START_LETTERS):
        return ""
    return run[0][:_START_LETTERS]


def _stem(word: str, group: tuple[tuple[str, _Entry], ...]) -> _Entry | None:
    for stem, entry in group:
        if word.startswith(stem):
            return entry
    return None


def _topic_evidence(found: _Found) -> TopicEvidence:
    if not found:
        return _NOTHING
    found.sort(key=lambda item: -item[0])
    labels = dict.fromkeys([label for points, label in found if points > 0])
    return TopicEvidence(sum([points for points, _ in found]), found[0][0], tuple(labels)[:_LABELS_SHOWN])


def _table() -> tuple[_Whole, _Stems]:
    """Whole words, and stems by their first four letters, longest stem first."""
    whole: _Whole = {}
    stems: dict[str, list[tuple[str, _Entry]]] = {}
    for spelling, counts in points_by_spelling().items():
        entry = _Entry(tuple(counts.items()))
        word, bracket, ending = spelling.rstrip("*)").partition("(")
        if spelling.endswith("*"):
            stems.setdefault(word[:_START_LETTERS], []).append((word, entry))
        elif bracket:
            whole[word] = whole[word + ending] = entry
        else:
            whole[word] = entry
    longest_first = {
        start: tuple(sorted(group, key=lambda item: -len(item[0]))) for start, group in stems.items()
    }
    return whole, longest_first


def _rarest(needle: str) -> str:
    """The least frequent character in English; any other character than a small letter or a space is rarer."""
    return max(needle, key=lambda each: _COMMON.find(each) if each in _COMMON else len(_COMMON), default="")


def _is_ascii(rule: Rule) -> bool:
    return any(needle.text.isascii() for needle in rule.needles)


_WHOLE, _STEMS = _table()
_COMPLEXITY: Final = _TopicRules("code", "debugging", "design")
_MATHS: Final = _TopicRules("maths")
