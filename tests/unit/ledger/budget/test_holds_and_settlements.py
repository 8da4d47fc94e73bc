"""F1, F2: what holds and settlements do to the budgets of a user."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.journal import Alerted, Settled
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from penstock.runtime.config.budgets.section import UNLIMITED
from services.ledger.budget.holds import MOST_PICOUSD
from services.ledger.budget.state import BudgetState, Grant, Wait
from tests.harness.requests.budget_requests import (
    FixedPolicies,
    account_policy,
    hold_request,
    policies,
    usage_of,
)

NOON_MS = 1_795_953_600_000
"""2026-11-29, 12:00 UTC."""
DAY_MS = 86_400_000


def of_user(**limits: int) -> FixedPolicies:
    return policies(user=BudgetPolicy(scope="user", account="*", name="*", limits=BudgetLimits(**limits)))


def grant(state: BudgetState, request: HoldRequest, rules: FixedPolicies, now_ms: int = NOON_MS) -> Grant:
    decision = state.decide(request, rules, now_ms)
    assert isinstance(decision, Grant), decision
    if decision.entry is not None:
        state.apply(decision.entry)
    return decision


def settle(state: BudgetState, usage, rules: FixedPolicies, now_ms: int = NOON_MS) -> Settled | None:
    entry = state.settle(usage, rules, now_ms)
    if entry is not None:
        state.apply(entry)
    return entry


def status(state: BudgetState, rules: FixedPolicies, now_ms: int = NOON_MS) -> BudgetStatus:
    return state.status(BudgetQuery(scope="user", account="shop", name="anna"), rules, now_ms)


def test_f1_what_is_held_cannot_be_held_again():
    state, rules = BudgetState(), of_user(microusd_per_day=2)
    grant(state, hold_request(1), rules)
    grant(state, hold_request(2), rules)
    waiting = state.decide(hold_request(3), rules, NOON_MS)
    assert isinstance(waiting, Wait)
    assert waiting.refusal.code == "rate_limited"
    assert waiting.refusal.retry_after_s == 1
    state.apply(state.release("shop.app.1", "cancelled", NOON_MS))
    grant(state, hold_request(3), rules)


@pytest.mark.parametrize(
    ("limits", "unbounded"),
    [
        ({}, True),
        ({"requests_per_minute": 50, "concurrency": 3}, True),
        ({"tokens_per_day": UNLIMITED, "microusd_per_day": UNLIMITED, "tokens_per_request": UNLIMITED}, True),
        ({"tokens_per_minute": 50_000}, False),
        ({"tokens_per_request": 5_000}, False),
        ({"requests_per_minute": 50, "microusd_per_month": 9_000_000}, False),
    ],
)
def test_f1_the_output_is_bounded_where_a_limit_on_tokens_or_money_applies(limits, unbounded):
    assert grant(BudgetState(), hold_request(1), of_user(**limits)).answer.unbounded is unbounded
    without_user = replace(hold_request(1), user="")
    assert grant(BudgetState(), without_user, of_user(**limits)).answer.unbounded, "no limit of users applies"


def test_f1_a_limit_that_only_raises_alerts_or_is_of_other_traffic_bounds_nothing():
    money = BudgetLimits(microusd_per_day=9_000_000)
    soft = BudgetPolicy(scope="user", account="*", name="*", limits=money, soft=("microusd_per_day",))
    assert grant(BudgetState(), hold_request(1), policies(user=soft)).answer.unbounded
    embed = BudgetPolicy(scope="account", account="shop", name="", limits=BudgetLimits(), embed=money)
    assert grant(BudgetState(), hold_request(1), policies(account=embed)).answer.unbounded
    request = replace(hold_request(1), traffic="embed")
    assert not grant(BudgetState(), request, policies(account=embed)).answer.unbounded


def test_f1_a_spent_budget_refuses_at_once_and_says_when_it_begins_anew():
    state, rules = BudgetState(), of_user(microusd_per_day=2)
    for number in (1, 2):
        request = hold_request(number)
        grant(state, request, rules)
        settle(state, usage_of(request), rules)
    refused = state.decide(hold_request(3), rules, NOON_MS)
    assert isinstance(refused, HoldRefused)
    assert refused.code == "budget_exceeded"
    assert refused.retry_after_s == 12 * 3600
    assert refused.limit.resets_at_ms == NOON_MS + DAY_MS // 2
    assert refused.message == (
        "User 'anna' of account 'shop' may spend 0.000002 USD per day; 0.000002 USD are spent, and this request may "
        "cost up to 0.000001 USD. Have the limit raised, or try again at 2026-11-30 00:00:00 UTC (in 12 h)."
    )
    grant(state, hold_request(3), rules, NOON_MS + DAY_MS // 2)


def test_f1_the_rest_of_a_hold_is_free_when_its_request_ends():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    request = hold_request(1, picousd=10_000_000)
    grant(state, request, rules)
    settle(state, usage_of(request, cost_picousd=1_000_000), rules)
    after = status(state, rules)
    assert (after.spent_today_microusd, after.held_microusd, after.open_holds) == (1, 0, 0)
    grant(state, hold_request(2, picousd=9_000_000), rules)


def test_f1_a_failed_attempt_keeps_the_rest_of_the_hold():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    request = hold_request(1, picousd=10_000_000)
    grant(state, request, rules)
    settle(state, usage_of(request, cost_picousd=4_000_000, ends=False, outcome="timeout"), rules)
    after = status(state, rules)
    assert (after.spent_today_microusd, after.held_microusd, after.open_holds) == (4, 6, 1)


def test_f1_a_raised_hold_counts_with_its_new_amount_only():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    grant(state, hold_request(1, picousd=4_000_000), rules)
    grant(state, hold_request(1, picousd=9_000_000), rules)
    assert status(state, rules).held_microusd == 9
    assert isinstance(state.decide(hold_request(1, picousd=11_000_000), rules, NOON_MS), HoldRefused)
    assert status(state, rules).open_holds == 1


@pytest.mark.parametrize("picousd", [1_000_000, 500_000, -3])
def test_f1_a_repeated_question_is_confirmed_and_stores_nothing(picousd: int):
    state, rules = BudgetState(), of_user(microusd_per_day=1, requests_per_hour=1)
    grant(state, hold_request(1), rules)
    assert grant(state, hold_request(1, picousd=picousd), rules).entry is None


def test_f1_a_settlement_above_its_hold_counts_with_what_was_spent():
    state, rules = BudgetState(), of_user(microusd_per_day=10)
    request = hold_request(1)
    grant(state, request, rules)
    settle(state, usage_of(request, cost_picousd=3_000_000, ends=False), rules)
    after = status(state, rules)
    assert (after.spent_today_microusd, after.held_microusd) == (3, 0)


def test_f1_a_hold_expires_with_its_deadline():
    state, rules = BudgetState(), of_user(microusd_per_day=1)
    grant(state, hold_request(1, deadline_ms=NOON_MS + 60_000), rules)
    assert state.expired(NOON_MS + 59_000) == []
    (entry,) = state.expired(NOON_MS + 60_000)
    assert (entry.id, entry.why) == ("shop.app.1", "expired")
    state.apply(entry)
    assert state.expired(NOON_MS + 60_000) == []
    grant(state, hold_request(2), rules, NOON_MS + 60_000)


def test_f1_another_attempt_runs_on_the_rest_of_the_hold():
    state, rules = BudgetState(), of_user(microusd_per_day=2, requests_per_hour=1)
    request = hold_request(1, picousd=2_000_000)
    grant(state, request, rules)
    settle(state, usage_of(request, cost_picousd=500_000), rules)
    grant(state, replace(request, raises=True), rules)
    after = status(state, rules)
    assert (after.held_microusd, after.open_holds) == (2, 1)  # 1.5 micro-dollars, rounded when shown
    assert settle(state, usage_of(request), rules) is None
    assert settle(state, usage_of(request, attempt=2, cost_picousd=1_500_000), rules) is not None
    assert status(state, rules).spent_today_microusd == 2


def test_f1_a_hold_raised_on_the_next_day_takes_the_rest_from_that_day():
    state, rules = BudgetState(), of_user(microusd_per_day=5)
    tomorrow_ms = NOON_MS + DAY_MS
    request = hold_request(1, picousd=5_000_000)
    grant(state, request, rules)
    settle(state, usage_of(request, cost_picousd=4_000_000, ends=False), rules)
    grant(state, hold_request(2, picousd=0), rules, tomorrow_ms)
    too_much = state.decide(hold_request(1, picousd=10_000_000), rules, tomorrow_ms)
    assert isinstance(too_much, HoldRefused)
    grant(state, hold_request(1, picousd=9_000_000), rules, tomorrow_ms)
    limit = status(state, rules, tomorrow_ms).limits[0]
    assert (limit.spent, limit.held, limit.left) == (0, 5, 0)


@pytest.mark.parametrize("amount", [-1, -(2**62), 2**62])
def test_f1_absurd_amounts_never_make_a_counter_negative(amount: int):
    state, rules = BudgetState(), of_user()
    for number in range(3000):
        request = hold_request(number, picousd=amount, tokens=amount)
        grant(state, request, rules)
        settle(state, usage_of(request, attempt=number, ends=number % 2 == 0), rules)
    restored = BudgetState.decode(state.encode())
    assert restored == state
    after = status(restored, rules)
    assert after.spent_today_microusd >= 0
    assert after.held_microusd >= 0


def test_f2_an_attempt_reported_twice_is_booked_once():
    state, rules = BudgetState(), of_user()
    request = hold_request(1)
    grant(state, request, rules)
    assert settle(state, usage_of(request), rules) is not None
    assert settle(state, usage_of(request, estimated=True, cost_picousd=7), rules) is None
    assert status(state, rules).spent_today_microusd == 1


@pytest.mark.parametrize("ends", [True, False])
def test_f2_an_entry_that_is_in_the_journal_twice_is_booked_once(ends: bool):
    state, rules = BudgetState(), of_user()
    request = hold_request(1)
    grant(state, request, rules)
    entry = settle(state, usage_of(request, ends=ends), rules)
    state.apply(entry)
    assert status(state, rules).spent_today_microusd == 1


def test_f2_a_late_attempt_counts_in_the_period_of_its_hold():
    state, rules = BudgetState(), of_user(microusd_per_day=5)
    request = hold_request(1, deadline_ms=NOON_MS + DAY_MS)
    grant(state, request, rules)
    state.apply(state.release(request.id, "cancelled", NOON_MS))
    entry = settle(state, usage_of(request), rules, NOON_MS + DAY_MS)
    assert entry.at_ms == NOON_MS
    late = status(state, rules, NOON_MS + DAY_MS)
    assert (late.spent_today_microusd, late.spent_this_month_microusd) == (0, 1)


def test_f2_usage_without_a_hold_is_booked_once_when_it_happened():
    state, rules = BudgetState(), of_user()
    usage = usage_of(hold_request(1), hold_id=None, at_ms=NOON_MS - DAY_MS)
    assert settle(state, usage, rules).at_ms == NOON_MS - DAY_MS
    assert settle(state, usage, rules) is None
    now = status(state, rules)
    assert (now.spent_today_microusd, now.spent_this_month_microusd) == (0, 1)


@pytest.mark.parametrize(
    ("at_ms", "booked_ms"),
    [(0, 1_790_812_800_000), (NOON_MS + 5, NOON_MS), (NOON_MS - 1, NOON_MS - 1)],
    ids=["long ago", "in the future", "just now"],
)
def test_f2_usage_without_a_hold_counts_from_the_last_month_until_now(at_ms: int, booked_ms: int):
    entry = BudgetState().settle(usage_of(hold_request(1), hold_id=None, at_ms=at_ms), of_user(), NOON_MS)
    assert entry.at_ms == booked_ms


@pytest.mark.parametrize(
    ("fields", "traffic"),
    [({}, "chat"), ({"kind": "embed"}, "embed"), ({"lane": "batch", "kind": "embed"}, "background")],
)
def test_c5_usage_without_a_hold_counts_to_its_class(fields: dict, traffic: str):
    entry = BudgetState().settle(usage_of(hold_request(1), hold_id=None, **fields), of_user(), NOON_MS)
    assert entry.traffic == traffic


def test_f2_an_ended_hold_is_forgotten_two_minutes_after_its_deadline():
    state, rules = BudgetState(), of_user()
    request = hold_request(1, deadline_ms=NOON_MS + 60_000)
    grant(state, request, rules)
    settle(state, usage_of(request), rules)
    grant(state, hold_request(2), rules, NOON_MS + 179_000)
    assert settle(state, usage_of(request), rules, NOON_MS + 179_000) is None
    held = len(state.encode())
    grant(state, hold_request(2, picousd=2_000_000), rules, NOON_MS + 180_000)
    assert len(state.encode()) < held


def test_f1_a_clock_that_steps_back_counts_in_the_latest_period():
    state, rules = BudgetState(), of_user(requests_per_minute=1)
    grant(state, hold_request(1), rules)
    assert isinstance(state.decide(hold_request(2), rules, NOON_MS - DAY_MS), HoldRefused)
    assert state.last_ms == NOON_MS


def test_scopes_without_use_for_more_than_a_month_are_forgotten():
    state, rules = BudgetState(), of_user()
    empty = BudgetState()
    for number in range(50):
        request = hold_request(number, user=f"user-{number}", deadline_ms=NOON_MS)
        grant(state, request, rules)
        settle(state, usage_of(request), rules)
    later = hold_request(99)
    grant(state, later, rules, NOON_MS + 32 * DAY_MS)
    grant(empty, later, rules, NOON_MS + 32 * DAY_MS)
    assert len(state.encode()) < len(empty.encode()) + 200


def test_f3_a_change_of_the_time_zone_lets_the_current_day_run_to_its_end():
    state, rules = BudgetState(), of_user(microusd_per_day=1)
    request = hold_request(1)
    grant(state, request, rules)
    settle(state, usage_of(request), rules)
    rules.zone = "Asia/Tokyo"
    assert isinstance(state.decide(hold_request(2), rules, NOON_MS + DAY_MS // 4), HoldRefused)
    grant(state, hold_request(2), rules, NOON_MS + DAY_MS // 2)
    limit = status(state, rules, NOON_MS + DAY_MS // 2).limits[0]
    assert limit.resets_at_ms == NOON_MS + DAY_MS + 3 * 3_600_000


def test_f1_the_whole_system_has_one_budget_for_all_accounts():
    state = BudgetState(system=True)
    rules = policies(system=BudgetPolicy(scope="system", limits=BudgetLimits(microusd_per_month=1)))
    request = hold_request(1, account="shop")
    grant(state, request, rules)
    settle(state, usage_of(request), rules)
    refused = state.decide(hold_request(2, account="other"), rules, NOON_MS)
    assert isinstance(refused, HoldRefused)
    assert refused.limit.scope == "system"
    assert refused.message.startswith("The whole system may spend 0.000001 USD per month")
    (first, second) = state.alerts(
        state.settle(usage_of(request, 2, cost_picousd=0), rules, NOON_MS), rules, NOON_MS
    )
    assert {type(first), type(second)} == {Alerted}


def test_a_state_of_another_version_is_not_read():
    with pytest.raises(ValueError, match="version"):
        BudgetState.decode(b"\x96\x63\xc2\x00\x80\x80\x80")


def test_c5_chats_and_embeddings_have_limits_of_their_own():
    state = BudgetState()
    rules = policies(
        account=account_policy(
            chat=BudgetLimits(requests_per_second=1), embed=BudgetLimits(requests_per_second=2)
        )
    )
    grant(state, hold_request(1), rules)
    grant(state, hold_request(2, traffic="embed"), rules)
    refused = state.decide(hold_request(3), rules, NOON_MS)
    assert isinstance(refused, HoldRefused)
    assert (refused.code, refused.limit.traffic, refused.retry_after_s) == ("rate_limited", "chat", 1)
    grant(state, hold_request(3, traffic="embed"), rules)


@pytest.mark.parametrize(
    ("saved", "booked"), [(-2_500, -2_500), (2_500, 2_500), (-(10**18), -(10**17)), (10**18, 10**17)]
)
def test_f2_a_cache_write_that_cost_more_than_it_saved_is_booked_as_a_loss(saved: int, booked: int):
    entry = settle(BudgetState(), usage_of(hold_request(1), saved_by_cache_picousd=saved), of_user())
    assert entry.saved_by_cache_picousd == booked


def test_f1_an_id_that_is_used_again_after_its_request_ended_is_another_request():
    state, rules = BudgetState(), policies(account=account_policy(limits=BudgetLimits(requests_per_hour=5)))
    request = hold_request(1)
    grant(state, request, rules)
    settle(state, usage_of(request, ends=True), rules)
    grant(state, request, rules)
    booked = settle(state, usage_of(request, ends=True), rules)
    account = state.status(BudgetQuery(scope="account", account=request.account), rules, NOON_MS)
    assert booked is not None
    assert account.limits[0].spent == 2
    assert (account.open_holds, account.held_microusd) == (0, 0)


def test_f2_another_attempt_after_the_end_keeps_the_attempts_of_its_request():
    state, rules = BudgetState(), policies()
    request = hold_request(1)
    grant(state, request, rules)
    settle(state, usage_of(request, ends=True), rules)
    grant(state, replace(request, raises=True, picousd=2 * request.picousd), rules)
    assert state.settle(usage_of(request, ends=True), rules, NOON_MS) is None


def test_f2_all_money_that_one_request_may_cost_is_counted_exactly():
    state, rules = BudgetState(), of_user()
    request = hold_request(1, picousd=MOST_PICOUSD)
    grant(state, request, rules)
    assert state.held_picousd == MOST_PICOUSD
    assert settle(state, usage_of(request), rules).picousd == MOST_PICOUSD
    assert status(state, rules).spent_today_microusd == 100_000 * 1_000_000
