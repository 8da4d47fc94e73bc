"""F1, F2: what the usage events of a group do to the holds of a partition."""

from __future__ import annotations

from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.journal import Released, Settled
from services.ledger.budget.state import BudgetState, Grant
from services.ledger.partitions.desk import Desk, Group
from services.ledger.partitions.usage_events import UsageEvent
from tests.harness.requests.budget_requests import hold_request, policies, usage_of

NOON_MS = 1_795_953_600_000
"""2026-11-29, 12:00 UTC."""


class Scene:
    """A partition with one open hold."""

    def __init__(self) -> None:
        self.budget, rules = BudgetState(), policies()
        self.desk = Desk(self.budget, rules)
        self.request = hold_request()
        decision = self.budget.decide(self.request, rules, NOON_MS)
        assert isinstance(decision, Grant)
        assert decision.entry is not None
        self.budget.apply(decision.entry)

    def settle(self, usage: UsageRecorded) -> Group:
        group = Group(NOON_MS)
        self.desk.settle(group, UsageEvent(1, usage))
        return group


def test_f1_a_second_report_of_an_attempt_that_ends_its_request_releases_the_hold():
    scene = Scene()
    scene.settle(usage_of(scene.request, cost_picousd=300_000, outcome="lost", ends=False))
    assert scene.budget.held_picousd == 700_000
    group = scene.settle(usage_of(scene.request, cost_picousd=400_000))
    assert group.entries == [Released(id=scene.request.id, why="completed", at_ms=NOON_MS)]
    assert list(group.freed) == ["shop"]
    assert (scene.budget.open_holds, scene.budget.held_picousd) == (0, 0)


def test_f1_a_second_report_without_the_id_of_the_hold_releases_it_too():
    scene = Scene()
    scene.settle(usage_of(scene.request, ends=False))
    scene.settle(usage_of(scene.request, hold_id=None))
    assert scene.budget.open_holds == 0


def test_f2_a_second_report_of_an_attempt_in_a_request_that_goes_on_changes_nothing():
    scene = Scene()
    scene.settle(usage_of(scene.request, cost_picousd=300_000, ends=False))
    group = scene.settle(usage_of(scene.request, cost_picousd=300_000, ends=False))
    assert (group.entries, list(group.freed)) == ([], [])
    assert scene.budget.held_picousd == 700_000


def test_f2_a_report_that_comes_again_after_the_end_changes_nothing():
    scene = Scene()
    (entry,) = scene.settle(usage_of(scene.request)).entries
    assert isinstance(entry, Settled)
    assert scene.settle(usage_of(scene.request)).entries == []
