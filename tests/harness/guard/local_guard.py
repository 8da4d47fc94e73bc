"""The local detectors of the guard and its policy, in the process of a test: a source of verdicts without a bus."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contract.guard.checks import GuardCheck, GuardVerdict
from penstock.runtime.guard.effective_policy import EffectivePolicy
from services.guard.detectors.detector import TextDetector
from services.guard.detectors.fair_threads import FairThreads
from services.guard.detectors.local import ThreadedDetector
from services.guard.detectors.outcome import Outcome
from services.guard.policy.decide import decide

__all__ = ["LocalGuard"]


class LocalGuard:
    def __init__(self, policy: EffectivePolicy, *detectors: TextDetector) -> None:
        self._policy = policy
        threads = FairThreads(1, "test")
        self._detectors = [ThreadedDetector(each, threads) for each in detectors]

    async def check(
        self,
        check: GuardCheck,
        wait_s: float = 0.0,  # noqa: ARG002 - the signature is GuardClient's
        trace: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> GuardVerdict:
        found = [await each.detect(check.texts) for each in self._detectors if each.name in check.detectors]
        return decide(check, self._policy, Outcome(tuple(found)))
