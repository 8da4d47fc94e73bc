"""F3: alerts at 80 and 100 percent of a budget, once per period."""

from __future__ import annotations

import pytest
from msgspec import structs

from penstock.contract.ledger.holds import HoldRefused
from penstock.contract.ledger.journal import Alerted
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from services.ledger.budget.state import BudgetState
from tests.harness.requests.budget_requests import FixedPolicies, hold_request, policies, usage_of

NOON_MS = 1_795_953_600_000
"""2026-11-29, 12:00 UTC."""
DAY_MS = 86_400_000


def of_user(soft: tuple = (), **limits: int) -> FixedPolicies:
    limits_ = BudgetLimits(**limits)
    return policies(user=BudgetPolicy(scope="user", account="*", name="*", limits=limits_, soft=soft))


def spend(state: BudgetState, rules: FixedPolicies, number: int, picousd: int, now_ms: int = NOON_MS):
    usage = usage_of(hold_request(number), hold_id=None, cost_picousd=picousd, at_ms=now_ms)
    entry = state.settle(usage, rules, now_ms)
    state.apply(entry)
    found = state.alerts(entry, rules, now_ms)
    for alert in found:
        state.apply(alert)
    return [(alert.limit, alert.percent) for alert in found]


def test_f3_a_budget_alerts_at_80_and_100_percent_once():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    assert spend(state, rules, 1, 7_999_999) == []
    assert spend(state, rules, 2, 1) == [("microusd_per_day", 80)]
    assert spend(state, rules, 3, 1) == []
    assert spend(state, rules, 4, 1_999_999) == [("microusd_per_day", 100)]
    assert spend(state, rules, 5, 9_000_000) == []


def test_f3_an_alert_tells_whose_budget_and_which_period():
    state, rules = BudgetState(), of_user(microusd_per_month=10)
    entry = state.settle(usage_of(hold_request(1), cost_picousd=8_000_000, at_ms=NOON_MS), rules, NOON_MS)
    state.apply(entry)
    (alert,) = state.alerts(entry, rules, NOON_MS)
    assert (alert.scope, alert.account, alert.name) == ("user", "shop", "anna")
    assert (alert.spent, alert.allowed, alert.percent) == (8, 10, 80)
    assert state.resets_at_ms(alert, rules) == NOON_MS + 36 * 3_600_000


def test_f3_a_new_day_alerts_again():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    assert spend(state, rules, 1, 8_000_000) == [("microusd_per_day", 80)]
    assert spend(state, rules, 2, 8_000_000, NOON_MS + DAY_MS) == [("microusd_per_day", 80)]


def test_f3_a_limit_that_is_increased_and_reached_again_alerts_once():
    state = BudgetState()
    assert spend(state, of_user(microusd_per_day=10), 1, 8_000_000) == [("microusd_per_day", 80)]
    assert spend(state, of_user(microusd_per_day=20), 2, 8_000_000) == []


def test_f3_a_lowered_limit_alerts_with_the_next_use():
    state = BudgetState()
    assert spend(state, of_user(microusd_per_day=100), 1, 8_000_000) == []
    lowered = of_user(microusd_per_day=8)
    assert spend(state, lowered, 2, 1) == [("microusd_per_day", 80), ("microusd_per_day", 100)]


def test_f3_a_refusal_for_a_spent_budget_is_an_alert_at_100_percent():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    spend(state, rules, 1, 9_500_000)
    request = hold_request(2)
    refusal = state.decide(request, rules, NOON_MS)
    assert isinstance(refusal, HoldRefused)
    (alert,) = state.alerts_of_refusal(request, refusal, rules, NOON_MS)
    assert (alert.limit, alert.percent) == ("microusd_per_day", 100)
    state.apply(alert)
    assert state.alerts_of_refusal(request, refusal, rules, NOON_MS) == []
    assert spend(state, rules, 3, 5_000_000) == []


def test_f3_a_request_above_the_whole_limit_is_no_alert():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    spend(state, rules, 1, 1)
    request = hold_request(2, picousd=11_000_000)
    refusal = state.decide(request, rules, NOON_MS)
    assert state.alerts_of_refusal(request, refusal, rules, NOON_MS) == []


def test_f3_a_refusal_for_another_reason_is_no_alert():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    spend(state, rules, 1, 9_500_000)
    rules.of_account = BudgetPolicy(scope="account", disabled=True)
    request = hold_request(2)
    refusal = state.decide(request, rules, NOON_MS)
    assert state.alerts_of_refusal(request, refusal, rules, NOON_MS) == []


def test_f3_a_soft_limit_alerts():
    state, rules = BudgetState(), of_user(("microusd_per_day",), microusd_per_day=10)
    assert spend(state, rules, 1, 10_000_000) == [("microusd_per_day", 80), ("microusd_per_day", 100)]


@pytest.mark.parametrize("limit", ["tokens_per_minute", "requests_per_hour"])
def test_f3_short_periods_raise_no_alerts(limit: str):
    state, rules = BudgetState(), of_user(**{limit: 1})
    assert spend(state, rules, 1, 5) == []


def test_f3_an_alert_of_a_period_that_is_over_marks_nothing():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    spend(state, rules, 1, 1)
    old = Alerted(
        scope="user",
        account="shop",
        name="anna",
        limit="microusd_per_day",
        percent=80,
        period_start_s=NOON_MS // 1000 - 10 * 86_400,
        spent=8,
        allowed=10,
        at_ms=NOON_MS,
    )
    state.apply(old)
    assert spend(state, rules, 2, 8_000_000) == [("microusd_per_day", 80)]


def test_f3_alerts_survive_a_restart():
    state, rules = BudgetState(), of_user(microusd_per_day=10, tokens_per_day=10)
    assert spend(state, rules, 1, 8_000_000) == [
        ("tokens_per_day", 80),
        ("tokens_per_day", 100),
        ("microusd_per_day", 80),
    ]
    assert spend(BudgetState.decode(state.encode()), rules, 2, 1) == []


def of_chats(**limits: int) -> FixedPolicies:
    return policies(account=BudgetPolicy(scope="account", account="*", chat=BudgetLimits(**limits)))


def test_f3_a_budget_for_one_class_of_traffic_alerts_when_this_class_reaches_it():
    state, rules = BudgetState(), of_chats(microusd_per_day=10)
    usage = usage_of(hold_request(1), hold_id=None, cost_picousd=50_000_000, lane="batch", at_ms=NOON_MS)
    background = state.settle(usage, rules, NOON_MS)
    state.apply(background)
    assert state.alerts(background, rules, NOON_MS) == []
    assert spend(state, rules, 2, 8_000_000) == [("microusd_per_day", 80)]
    assert spend(state, rules, 3, 2_000_000) == [("microusd_per_day", 100)]
    assert spend(BudgetState.decode(state.encode()), rules, 4, 1) == []


def test_f3_an_alert_tells_which_class_of_traffic_it_is_about():
    state, rules = BudgetState(), of_chats(microusd_per_day=10)
    rules.of_account = structs.replace(rules.of_account, limits=BudgetLimits(microusd_per_day=10))
    entry = state.settle(usage_of(hold_request(1), cost_picousd=8_000_000, at_ms=NOON_MS), rules, NOON_MS)
    state.apply(entry)
    found = state.alerts(entry, rules, NOON_MS)
    assert [(alert.percent, alert.traffic) for alert in found] == [(80, None), (80, "chat")]
    assert {state.resets_at_ms(alert, rules) for alert in found} == {NOON_MS + DAY_MS // 2}


def test_f3_a_refusal_for_the_spent_budget_of_a_class_is_an_alert_at_100_percent():
    state, rules = BudgetState(), of_chats(microusd_per_day=10)
    spend(state, rules, 1, 9_500_000)
    request = hold_request(2)
    refusal = state.decide(request, rules, NOON_MS)
    (alert,) = state.alerts_of_refusal(request, refusal, rules, NOON_MS)
    assert (alert.percent, alert.traffic) == (100, "chat")
    background = structs.replace(request, traffic="background")
    assert state.alerts_of_refusal(background, refusal, rules, NOON_MS) == []
