"""From the findings of the detectors to the verdict that the policy of the account gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from penstock.contract.guard.checks import (
    MAX_CHECK_TEXTS,
    CheckedText,
    DetectorFailure,
    Finding,
    GuardCheck,
    GuardVerdict,
)
from penstock.contract.guard.policies import ACTIONS, KINDS, Action
from penstock.runtime.guard.effective_policy import EffectivePolicy, strongest
from penstock.runtime.guard.joined_findings import joined, place_of
from services.guard.detectors.outcome import Outcome
from services.guard.policy.language import language_of

__all__ = ["decide"]

_MOST_FINDINGS: Final = MAX_CHECK_TEXTS
"""Findings in one verdict, so that there is room for a redaction of each text. A finding takes up to 200 bytes, a
message of NATS 8 MiB."""


def decide(check: GuardCheck, policy: EffectivePolicy, outcome: Outcome) -> GuardVerdict:
    """The verdict; the time that it took and the instance are left open.

    Findings with the action `allow` are left out. Overlapping redactions become one, under the name of the longest.
    """
    findings = [
        decided
        for detection in outcome.detections
        for finding in detection.findings
        if (decided := _decided(check, policy, finding)) is not None
    ]
    redactions = _limited(joined(finding for finding in findings if finding.action == "redact"))
    others = sorted((finding for finding in findings if finding.action != "redact"), key=_rank)
    kept = sorted([*redactions, *others[: max(0, _MOST_FINDINGS - len(redactions))]], key=place_of)
    return GuardVerdict(
        id=check.id,
        action=strongest(tuple({finding.action for finding in findings})),
        findings=tuple(kept),
        scores=_scores(outcome),
        failures=tuple(
            DetectorFailure(
                detector=detector,
                why=why,
                refuses=check.apply_policy and policy.fails_closed(check.direction, (detector,)),
            )
            for detector, why in outcome.failures.items()
        ),
        language=_language(check.texts),
        policy_version=policy.version,
    )


def _decided(check: GuardCheck, policy: EffectivePolicy, finding: Finding) -> Finding | None:
    """The finding with its action, at its place after the context; None if it is context only, or allowed."""
    text = check.texts[finding.text]
    everywhere = finding.start == finding.end == 0
    if (len(text.text) if everywhere else finding.end) <= text.start and text.start > 0:
        return None
    action = _action(check, policy, finding)
    if action == "allow":
        return None
    if everywhere:
        if action != "redact":
            return replace(finding, action=action)
        return replace(finding, start=text.start, end=len(text.text), action=action)
    return replace(finding, start=max(finding.start, text.start), action=action)


def _action(check: GuardCheck, policy: EffectivePolicy, finding: Finding) -> Action:
    if not check.apply_policy:
        return "flag"
    action = policy.action(check.direction, finding.category, finding.kind)
    # Harmful content has no place that could be replaced; what must not pass as it is does not pass.
    return "block" if action == "redact" and finding.category not in KINDS else action


def _limited(redactions: list[Finding]) -> list[Finding]:
    """At most `_MOST_FINDINGS`: in a verdict with more, the last of each text become one that covers them all."""
    if len(redactions) <= _MOST_FINDINGS:
        return redactions
    by_text = [list(group) for _, group in groupby(redactions, key=lambda finding: finding.text)]
    share = max(1, _MOST_FINDINGS // len(by_text))
    limited: list[Finding] = []
    for group in by_text:
        limited += group[: share - 1]
        if rest := group[share - 1 :]:
            limited.append(replace(rest[0], end=rest[-1].end))
    return limited


def _scores(outcome: Outcome) -> dict[str, float]:
    highest: dict[str, float] = {}
    for detection in outcome.detections:
        rated = [*detection.scores.items(), *((each.category, each.score) for each in detection.findings)]
        for category, score in rated:
            highest[category] = max(score, highest.get(category, 0.0))
    return highest


def _language(texts: Sequence[CheckedText]) -> str:
    last = next((text for text in reversed(texts) if text.origin == "user"), None)
    return "" if last is None else language_of(last.text[last.start :])


def _rank(finding: Finding) -> tuple[int, int, int]:
    """The strongest actions first."""
    return (-ACTIONS.index(finding.action), finding.text, finding.start)
