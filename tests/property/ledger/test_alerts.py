"""F3: each alert is raised once, whichever of three ledgers owns the partition."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given

from penstock.contract.ledger.holds import HoldRefused
from penstock.contract.ledger.journal import Alerted, JournalEntry, TookOver
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from services.ledger.budget.state import BudgetState, Grant
from tests.harness.requests.budget_requests import account_policy, hold_request, policies, usage_of

START_MS = 1_795_953_600_000
SPENT = st.integers(0, 6).map(lambda quarters: quarters * 250_000)
ALLOWED = st.integers(1, 8)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["request", "request", "request", "take over", "snapshot", "policy", "next day"]),
        SPENT,
        ALLOWED,
    ),
    max_size=60,
)


class Owners:
    """Three ledgers: the owner writes the journal, and each next owner starts from a snapshot or replays it all."""

    def __init__(self) -> None:
        self.journal: list[JournalEntry] = []
        self.snapshot: tuple[int, bytes] = (0, BudgetState().encode())
        self.owner = 0
        self.state = BudgetState()

    def store(self, entry: JournalEntry) -> None:
        self.state.apply(entry)
        self.journal.append(entry)

    def take_over(self, now_ms: int) -> None:
        position, data = self.snapshot
        loaded = BudgetState.decode(data)
        for entry in self.journal[position:]:
            loaded.apply(entry)
        assert loaded == self.state == self.replayed()
        self.state, self.owner = loaded, (self.owner + 1) % 3
        self.store(TookOver(instance=f"ledger-{self.owner}", at_ms=now_ms))

    def replayed(self) -> BudgetState:
        state = BudgetState()
        for entry in self.journal:
            state.apply(entry)
        return state


@given(STEPS)
def test_f3_an_alert_is_raised_once_per_period_by_three_owners(steps: list[tuple[str, int, int]]):
    owners, rules, now_ms = Owners(), policies(), START_MS
    for number, (step, spent, allowed) in enumerate(steps):
        now_ms += 1000
        if step == "request":
            request_of(owners, rules, number, spent, now_ms)
        elif step == "take over":
            owners.take_over(now_ms)
        elif step == "snapshot":
            owners.snapshot = len(owners.journal), owners.state.encode()
        elif step == "policy":
            limits = BudgetLimits(microusd_per_day=allowed, microusd_per_month=2 * allowed)
            rules.of_account = account_policy(limits, chat=limits, background=limits)
            rules.of_user = BudgetPolicy(scope="user", account="*", name="*", limits=limits)
        else:
            now_ms += 86_400_000
    alerts = [entry for entry in owners.journal if isinstance(entry, Alerted)]
    raised = Counter(
        (alert.scope, alert.name, alert.traffic, alert.limit, alert.period_start_s, alert.percent)
        for alert in alerts
    )
    assert all(count == 1 for count in raised.values()), raised
    assert all(alert.percent == 100 or alert.spent * 100 >= 80 * (alert.allowed - 1) for alert in alerts)


def request_of(owners: Owners, rules, number: int, spent: int, now_ms: int) -> None:
    """A request that costs up to twice what it held."""
    traffic = "background" if number % 5 == 0 else "chat"
    request = hold_request(number, picousd=spent, deadline_ms=now_ms + 60_000, traffic=traffic)
    decision = owners.state.decide(request, rules, now_ms)
    if isinstance(decision, HoldRefused):
        alerts = owners.state.alerts_of_refusal(request, decision, rules, now_ms)
    elif isinstance(decision, Grant):
        owners.store(decision.entry)
        usage = usage_of(request, cost_picousd=2 * spent if number % 3 == 0 else spent, at_ms=now_ms)
        entry = owners.state.settle(usage, rules, now_ms)
        owners.store(entry)
        alerts = owners.state.alerts(entry, rules, now_ms)
    else:
        alerts = []
    for alert in alerts:
        owners.store(alert)
