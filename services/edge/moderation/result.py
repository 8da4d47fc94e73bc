"""The verdicts of the guard in the shape of OpenAI's moderation endpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from penstock.contract.guard.checks import GuardVerdict
from penstock.contract.guard.policies import HAZARD_CATEGORIES, LOCAL_DETECTORS, DetectorName

__all__ = ["moderation", "unrated"]

_MODEL: Final = "penstock-guard"


def moderation(request_id: str, verdicts: Sequence[GuardVerdict]) -> dict[str, Any]:
    """The body of the answer, with a result for each verdict.

    `flagged` and the categories are exactly OpenAI's, so that code written for OpenAI does not stop a text because it
    has an e-mail address. What else was found, and where, is in `penstock`.
    """
    body: dict[str, Any] = {
        "id": f"modr-{request_id}",
        "model": _MODEL,
        "results": [_result(verdict) for verdict in verdicts],
    }
    failures = {each.detector: each.why for verdict in verdicts for each in verdict.failures}
    if failures:
        unchecked = [{"detector": detector, "why": why} for detector, why in failures.items()]
        body["penstock"] = {"unchecked": unchecked}
    return body


def unrated(verdicts: Iterable[GuardVerdict], enabled: Sequence[DetectorName]) -> str:
    """Why a text has no rating from any of the `enabled` detectors of hazards; empty: each text has one."""
    for verdict in verdicts:
        failed = {each.detector: each.why for each in verdict.failures}
        if all(detector in failed for detector in enabled):
            return ", ".join(f"{detector}: {failed[detector]}" for detector in enabled)
    return ""


def _result(verdict: GuardVerdict) -> dict[str, Any]:
    found = {finding.category for finding in verdict.findings}
    return {
        "flagged": any(name in found for name in HAZARD_CATEGORIES),
        "categories": {name: name in found for name in HAZARD_CATEGORIES},
        "category_scores": {name: verdict.scores.get(name, 0.0) for name in HAZARD_CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in HAZARD_CATEGORIES},
        "penstock": {
            "categories": {name: name in found for name in LOCAL_DETECTORS},
            "category_scores": {name: verdict.scores.get(name, 0.0) for name in LOCAL_DETECTORS},
            "findings": [
                {
                    "category": finding.category,
                    "kind": finding.kind or None,
                    "detector": finding.detector,
                    "score": finding.score,
                    "part": finding.text,
                    "start": finding.start,
                    "end": finding.end,
                }
                for finding in verdict.findings
            ],
        },
    }
