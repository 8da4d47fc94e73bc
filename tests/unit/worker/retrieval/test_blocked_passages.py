"""H3, H4, G1: what the guard blocks in passages and earlier turns is left out, named and counted."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.guard.policies import Action
from penstock.runtime.config.guard import Detectors, Guard, SafetyModel
from penstock.runtime.guard.effective_policy import effective_policy
from services.worker.guard.guard_checks import GuardChecks
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.request_guard import RequestGuard, RequestGuards
from services.worker.retrieval.blocked_passages import without_blocked
from services.worker.retrieval.retrieved import Found
from tests.unit.worker.retrieval.passages import passage
from tests.unit.worker.worker_parts import work

MODERATED = Guard(
    input={"hate": "block", "violence": "flag"},
    output={},
    detectors=Detectors(safety_model=SafetyModel(enabled=True)),
)


class Finder:
    """Finds the words `hate` and `violence`."""

    async def check(
        self,
        check: GuardCheck,
        wait_s: float,  # noqa: ARG002 - the signature is GuardClient's
        trace: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> GuardVerdict:
        actions: tuple[tuple[str, Action], ...] = (("hate", "block"), ("violence", "flag"))
        found = tuple(
            Finding(text=index, category=name, detector="safety_model", action=action)
            for index, text in enumerate(check.texts)
            for name, action in actions
            if name in text.text
        )
        blocks = any(each.action == "block" for each in found)
        return GuardVerdict(id=check.id, action="block" if blocks else "flag", findings=found)


def guard_of(registry: CollectorRegistry) -> RequestGuard:
    checks = GuardChecks(Finder(), 1.0, NO_TRACER, RequestGuardMetrics(registry))
    policy = effective_policy(MODERATED, "a", {})
    guard = RequestGuards(MODERATED, lambda _: policy, checks).of(work(), None)
    assert guard is not None
    return guard


async def test_h3_g1_harmful_passages_and_turns_are_left_out_named_and_counted() -> None:
    registry = CollectorRegistry()
    guard = guard_of(registry)
    found = Found(
        (passage(1, "hate"), passage(2, "calm"), passage(3, "calm", heading="hate"), passage(4, "violence")),
        recalled=(passage(5, "hate", document="trip/2026/r1"), passage(6, "calm", document="trip/r2")),
    )
    kept = await without_blocked(guard, found)
    assert [each.document for each in kept.excerpts] == ["docs/2.md", "docs/4.md"]
    assert [each.document for each in kept.recalled] == ["trip/r2"]
    assert kept.left_out == (
        LeftOut(kind="passage", name="docs/1.md", findings=("hate",)),
        LeftOut(kind="passage", name="docs/3.md", findings=("hate",)),
        LeftOut(kind="turn", name="trip/2026", findings=("hate",)),
    )
    counter = "penstock_worker_guard_left_out_total"
    assert registry.get_sample_value(counter, {"kind": "passage"}) == 2
    assert registry.get_sample_value(counter, {"kind": "turn"}) == 1
    assert not registry.get_sample_value("penstock_worker_guard_blocked_total", {"direction": "input"})
    (flagged,) = guard.guarded()
    assert (flagged.name, flagged.action, flagged.count) == ("violence", "flag", 1)
    assert flagged.places == (ContentPlace(kind="passage", number=2, name="docs/4.md"),)
