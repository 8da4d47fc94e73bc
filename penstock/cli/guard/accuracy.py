"""Precision and recall of a guard on a labelled set: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from penstock.cli.guard.labelled_set import Example, Label
from penstock.contract.guard.checks import Finding, GuardVerdict
from penstock.contract.guard.policies import KINDS

__all__ = ["Accuracy", "Counts", "Mistake", "measured", "searched_names"]

_BEGINNING_CHARACTERS: Final = 200


class Counts(Struct, frozen=True):
    """How often a kind was found where it is, found where it is not, and not found."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float | None:
        """The share of the findings that are right; None: nothing was found."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None

    @property
    def recall(self) -> float | None:
        """The share of the labels that were found; None: there are none."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None


class Mistake(Struct, frozen=True):
    """A label that was not found, or a finding that is not labelled."""

    line: int
    name: str
    text: str
    """The characters at its place; without one the beginning of the text."""
    score: float | None = None
    """The highest score of its category in a text in which it was missed; None: not rated."""


class Accuracy(Struct, frozen=True, kw_only=True):
    texts: int
    by_name: dict[str, Counts]
    """By category and kind, in alphabetical order."""
    total: Counts
    missed: tuple[Mistake, ...]
    false_alarms: tuple[Mistake, ...]
    unchecked: dict[str, str]
    """By detector that could not check a text, how many texts, and the reason of the last."""


def searched_names(examples: Iterable[Example]) -> frozenset[str]:
    """What the set is about: every kind of secrets and personal data, unless all its lines are labels of prompt
    injection, and the other categories that it names.
    """
    known = list(examples)
    named = {label.name for example in known for label in example.labels}
    named |= {name for example in known for name in example.judged or ()}
    if any(example.judged is None for example in known):
        named |= {f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds}
    return frozenset(named)


def measured(examples: Sequence[Example], verdicts: Sequence[GuardVerdict]) -> Accuracy:
    """`verdicts`: one for each example, in their order."""
    names = searched_names(examples)
    right: Counter[str] = Counter()
    missed: list[Mistake] = []
    false_alarms: list[Mistake] = []
    for example, verdict in zip(examples, verdicts, strict=True):
        judged = names if example.judged is None else example.judged
        found = [finding for finding in verdict.findings if finding.name in judged]
        lacking = [label for label in example.labels if not _is_found(label, found)]
        right.update(label.name for label in example.labels if label not in lacking)
        missed += [_mistake(example, label.name, label.start, label.end, verdict.scores) for label in lacking]
        false_alarms += _false_alarms(example, found)
    missing, wrong = (Counter(each.name for each in mistakes) for mistakes in (missed, false_alarms))
    present = sorted({*right, *missing, *wrong})
    return Accuracy(
        texts=len(examples),
        by_name={name: Counts(right[name], wrong[name], missing[name]) for name in present},
        total=Counts(right.total(), wrong.total(), missing.total()),
        missed=tuple(missed),
        false_alarms=tuple(false_alarms),
        unchecked=_unchecked(verdicts),
    )


def _mistake(
    example: Example, name: str, start: int, end: int, scores: Mapping[str, float] | None = None
) -> Mistake:
    text = example.text[start:end] if end else example.text[:_BEGINNING_CHARACTERS]
    return Mistake(example.line, name, text, (scores or {}).get(name))


def _is_found(label: Label, found: Iterable[Finding]) -> bool:
    return any(each.name == label.name and label.covers(each.start, each.end) for each in found)


def _false_alarms(example: Example, found: Iterable[Finding]) -> list[Mistake]:
    """Findings without a label at their place; in a text whose labels have no places, one for each kind."""
    wrong = [
        _mistake(example, each.name, each.start, each.end)
        for each in found
        if not any(label.name == each.name and label.covers(each.start, each.end) for label in example.labels)
    ]
    if example.has_places:
        return wrong
    return list({mistake.name: mistake for mistake in reversed(wrong)}.values())[::-1]


def _unchecked(verdicts: Iterable[GuardVerdict]) -> dict[str, str]:
    failures = [failure for verdict in verdicts for failure in verdict.failures]
    numbers = Counter(failure.detector for failure in failures)
    reasons = {failure.detector: failure.why for failure in failures}
    return {name: f"{numbers[name]:,} ({reasons[name]})" for name in sorted(numbers)}
