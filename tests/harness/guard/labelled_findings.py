"""The labelled texts of tests/data/guard/test_findings.jsonl, and how detectors do on them.

A text holds `{{kind}}` for a valid value and `{{!kind}}` for one that only looks alike; the values are made anew for
each seed.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import Match, TextDetector
from tests.harness.guard.synthetic_values import near_miss, synthetic

__all__ = ["LabelledText", "Score", "labelled_texts", "score"]

_FILE: Final = Path(__file__).parents[2] / "data/guard/test_findings.jsonl"
_PLACEHOLDER: Final = re.compile(r"\{\{(!?)([a-z0-9_]+)\}\}")


class LabelledText(Struct, frozen=True):
    line: int
    text: str
    expected: tuple[Match, ...]


class Score(Struct):
    """Counts by kind over all texts."""

    found: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    harmless_texts: int = 0
    mistakes: list[str] = field(default_factory=list)
    """Each miss and false alarm in words."""
    harmless_alarms: list[str] = field(default_factory=list)

    def recall(self) -> dict[str, float]:
        kinds = self.found.keys() | self.missed.keys()
        return {kind: self.found[kind] / (self.found[kind] + self.missed[kind]) for kind in sorted(kinds)}

    def precision(self) -> dict[str, float]:
        kinds = self.found.keys() | self.false.keys()
        return {kind: self.found[kind] / (self.found[kind] + self.false[kind]) for kind in sorted(kinds)}


def labelled_texts(seed: int) -> Iterator[LabelledText]:
    rng = random.Random(seed)
    for number, line in enumerate(_FILE.read_text(encoding="utf-8").splitlines(), 1):
        yield _filled(number, json.loads(line)["text"], rng)


def score(detectors: Sequence[TextDetector], texts: Iterator[LabelledText]) -> Score:
    """A finding counts if its place is exactly that of the label, and its kind is that of the label."""
    total = Score()
    for labelled in texts:
        checked = CheckedText(text=labelled.text)
        matches = [match for detector in detectors for match in detector.find(checked)]
        if not labelled.expected:
            total.harmless_texts += 1
            total.harmless_alarms += [_words(labelled, match) for match in matches]
        _compare(labelled, matches, total)
    return total


def _compare(labelled: LabelledText, matches: list[Match], total: Score) -> None:
    wanted = {(each.start, each.end): each.kind for each in labelled.expected}
    got = {(each.start, each.end): _kind(each, wanted) for each in matches}
    for place, kind in wanted.items():
        hit = got.get(place) == kind
        (total.found if hit else total.missed)[kind] += 1
        if not hit:
            total.mistakes.append("missed " + _words(labelled, Match(*place, kind)))
    for match in matches:
        if wanted.get((match.start, match.end)) != got[match.start, match.end]:
            total.false[match.kind] += 1
            total.mistakes.append("false " + _words(labelled, match))


def _kind(match: Match, wanted: dict[tuple[int, int], str]) -> str:
    """A vendor's secret, found by the name of the vendor beside it, is one of the generic secrets of the labels."""
    generic = wanted.get((match.start, match.end)) == "generic_secret"
    return "generic_secret" if generic and match.kind == "other_secret" else match.kind


def _filled(number: int, template: str, rng: random.Random) -> LabelledText:
    text, expected, reached = "", [], 0
    for placeholder in _PLACEHOLDER.finditer(template):
        text += template[reached : placeholder.start()]
        missed, kind = placeholder[1] == "!", placeholder[2]
        value = near_miss(kind, rng) if missed else synthetic(kind, rng)
        if not missed:
            start, end = _place(kind, value)
            expected.append(Match(len(text) + start, len(text) + end, kind))
        text += value
        reached = placeholder.end()
    return LabelledText(number, text + template[reached:], tuple(expected))


def _place(kind: str, value: str) -> tuple[int, int]:
    """The finding within a value: of a URL with a password, the password."""
    if kind != "url_password":
        return 0, len(value)
    credentials, _, _ = value.rpartition("@")
    return credentials.rindex(":") + 1, len(credentials)


def _words(labelled: LabelledText, match: Match) -> str:
    before = labelled.text[max(0, match.start - 60) : match.start]
    value, after = labelled.text[match.start : match.end], labelled.text[match.end : match.end + 20]
    return f"{match.kind} in line {labelled.line}: {before!r} {value!r} {after!r}"
