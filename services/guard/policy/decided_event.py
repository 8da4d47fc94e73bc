"""The event of a verdict: what was found and decided, without any content."""

from __future__ import annotations

from collections import Counter

from penstock.contract.events import GuardDecided
from penstock.contract.guard.checks import GuardCheck, GuardVerdict

__all__ = ["decided_event"]


def decided_event(check: GuardCheck, verdict: GuardVerdict, now_ms: int) -> GuardDecided | None:
    """None for a check that found nothing and has no failed detector, and for one without a policy."""
    if not check.apply_policy or not (verdict.findings or verdict.failures):
        return None
    return GuardDecided(
        id=check.id,
        account=check.account,
        user=check.user,
        direction=check.direction,
        action=verdict.action,
        findings=dict(Counter(finding.name for finding in verdict.findings)),
        unchecked_by=tuple(failure.detector for failure in verdict.failures),
        refused=verdict.refuses,
        policy_version=verdict.policy_version,
        elapsed_ms=verdict.elapsed_ms,
        at_ms=now_ms,
        guard=verdict.guard,
    )
