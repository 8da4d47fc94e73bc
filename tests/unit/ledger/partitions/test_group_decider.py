"""F1, F2: what the usage events of a group do to the holds of a partition."""

from __future__ import annotations

from msgspec import structs

from penstock.bus.tracing import NO_SPAN
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldGranted, HoldRequest
from penstock.contract.ledger.journal import Released, Settled
from penstock.contract.ledger.policies import BudgetLimits
from services.ledger.budget.state import BudgetState, Grant
from services.ledger.partitions.asked import AskedHold, Question
from services.ledger.partitions.group_decider import Group, GroupDecider
from services.ledger.partitions.usage_events import UsageEvent
from tests.harness.requests.budget_requests import account_policy, hold_request, policies, usage_of

NOON_MS = 1_795_953_600_000
"""2026-11-29, 12:00 UTC."""


class Scene:
    """A partition with one open hold."""

    def __init__(self) -> None:
        self.budget, rules = BudgetState(), policies()
        self.decider = GroupDecider(self.budget, rules)
        self.request = hold_request()
        decision = self.budget.decide(self.request, rules, NOON_MS)
        assert isinstance(decision, Grant)
        assert decision.entry is not None
        self.budget.apply(decision.entry)

    def settle(self, usage: UsageRecorded) -> Group:
        group = Group(NOON_MS)
        self.decider.settle(group, UsageEvent(1, usage))
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


def asked(request: HoldRequest) -> AskedHold:
    return AskedHold(structs.replace(request, wait_s=10.0), Question(b"", "reply", {}, 0), NO_SPAN)


def test_c5_a_request_is_put_off_until_the_system_was_asked_for_it():
    rules = policies(account=account_policy(BudgetLimits(concurrency=1)))
    decider = GroupDecider(BudgetState(), rules)
    first, waiter, last = (asked(hold_request(number)) for number in (1, 2, 3))
    group = Group(NOON_MS)
    verdicts = {each.id: HoldGranted(id=each.id) for each in decider.candidates(group, [], [first, waiter])}
    decider.hold(group, first, verdicts, 0)
    decider.hold(group, waiter, verdicts, 0)
    assert decider.unused(verdicts) == [waiter.request.id]

    group = Group(NOON_MS + 10)
    decider.settle(group, UsageEvent(1, usage_of(first.request)))
    due = decider.due_accounts(group, all_of_them=False)
    verdicts = {each.id: HoldGranted(id=each.id) for each in decider.candidates(group, due, [])}
    rules.of_account = account_policy(BudgetLimits(concurrency=2))
    decider.admit_waiting(group, due, verdicts)
    decider.hold(group, last, verdicts, 0)
    assert [each.request.id for each, _ in group.answers] == [waiter.request.id]
    assert group.deferred == [last]


def test_f1_what_is_spent_without_a_hold_or_after_its_end_is_counted_as_overshoot():
    scene = Scene()
    assert scene.settle(usage_of(scene.request, cost_picousd=1_200_000)).overshoot_picousd == 200_000
    assert scene.settle(usage_of(scene.request, attempt=2, cost_picousd=70)).overshoot_picousd == 70
    assert scene.settle(usage_of(hold_request(9), cost_picousd=500)).overshoot_picousd == 500
    assert scene.settle(usage_of(hold_request(9), cost_picousd=500)).overshoot_picousd == 0
