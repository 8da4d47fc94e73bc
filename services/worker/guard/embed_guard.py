"""The guard of one embed request: its texts are checked, and values in them replaced, before any of them leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct, field

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import PLACED_DETECTORS, DetectorName, Direction
from penstock.contract.reply import GuardedContent
from penstock.contract.work import ChatWork
from penstock.runtime.guard.effective_policy import EffectivePolicy
from penstock.runtime.guard.joined_findings import joined
from penstock.runtime.retrieval.embedding_key import EmbeddingText
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused
from services.worker.guard.placeholders import Placeholders

__all__ = ["EmbedGuard", "EmbedGuards"]

_TOKENS: Final = (
    "input has arrays of tokens, which the safety guard cannot read, and the policy of the account redacts or blocks "
    "values in requests: send texts"
)


class EmbedGuards(Struct, frozen=True):
    """Makes the guard of each embed request."""

    policy_of: Callable[[str], EffectivePolicy]
    """The policy in force for an account."""
    checks: GuardChecks

    def of(self, work: ChatWork, traceparent: str | None) -> EmbedGuard | None:
        """None for an account whose policy redacts or blocks neither secrets nor personal data in its input: nothing
        else is looked for, because no model reads the texts.
        """
        policy = self.policy_of(work.account)
        if not set(policy.enforcing("input")) & set(PLACED_DETECTORS):
            return None
        detectors = tuple(each for each in policy.detectors("input") if each in PLACED_DETECTORS)
        return EmbedGuard(
            CheckedRequest(work.id, work.account, work.user, policy, traceparent), self.checks, detectors
        )


class EmbedGuard(Struct, frozen=True):
    request: CheckedRequest
    checks: GuardChecks
    detectors: tuple[DetectorName, ...]
    passed: Counter[tuple[str, Literal["flag", "redact"]]] = field(default_factory=Counter)
    """Findings that were flagged or replaced, by name and action."""

    async def checked(self, texts: Sequence[EmbeddingText]) -> Sequence[str]:
        """The texts with placeholders in place of what the policy redacts.

        The numbers of the placeholders of each text begin with 1: the vector of a text must not depend on the texts
        that are sent with it. Raises Refused.
        """
        read = [text for text in texts if isinstance(text, str)]
        if len(read) < len(texts):
            raise Refused("invalid_request", _TOKENS)
        checked = [CheckedText(text=text) for text in read]
        found = await self.checks.findings(self.request, "input", checked, self.detectors)
        redacted = joined(each for each in found if each.action == "redact")
        self.passed.update((each.name, "redact") for each in redacted)
        self.passed.update((each.name, "flag") for each in found if each.action == "flag")
        self.checks.metrics.redactions.labels("input").inc(len(redacted))
        return _replaced(read, redacted)

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found, and passed or was replaced."""
        return tuple(
            GuardedContent(direction="input", name=name, action=action, count=count)
            for (name, action), count in self.passed.items()
        )

    def unchecked(self) -> tuple[Direction, ...]:
        """Where a check was not made, and the content passed."""
        return tuple(sorted(self.request.unchecked))


def _replaced(texts: Sequence[str], findings: Sequence[Finding]) -> Sequence[str]:
    by_text: dict[int, list[Finding]] = {}
    for each in findings:
        by_text.setdefault(each.text, []).append(each)
    changed = list(texts)
    for index, found in by_text.items():
        changed[index] = Placeholders((texts[index],)).replace(texts[index], found)
    return changed
