"""F1, F3: which requests are refused, and what the refusal says."""

from __future__ import annotations

import pytest
from msgspec import structs

from penstock.contract.ledger.holds import HoldRefused
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from penstock.contract.ledger.status import BudgetQuery
from services.ledger.budget.state import BudgetState, Grant, Wait
from tests.harness.requests.budget_requests import account_policy, hold_request, policies, usage_of

NOON_MS = 1_795_953_600_000
"""2026-11-29, 12:00 UTC."""


def user_policy(limits: BudgetLimits | None = None, **fields) -> BudgetPolicy:
    return BudgetPolicy(scope="user", account="*", name="*", limits=limits or BudgetLimits(), **fields)


@pytest.mark.parametrize(
    ("rules", "whose"),
    [
        (policies(account=account_policy(disabled=True)), "account 'shop'"),
        (policies(user=user_policy(disabled=True)), "user 'anna' of account 'shop'"),
        (
            policies(key=BudgetPolicy(scope="key", account="*", name="*", disabled=True)),
            "API key 'pk1' of account 'shop'",
        ),
    ],
    ids=["account", "user", "key"],
)
def test_f3_a_disabled_account_user_or_key_is_refused(rules, whose: str):
    refused = BudgetState().decide(hold_request(1, key="pk1"), rules, NOON_MS)
    assert isinstance(refused, HoldRefused)
    assert (refused.code, refused.limit, refused.retry_after_s) == ("account_disabled", None, None)
    assert whose in refused.message


def test_c5_more_output_tokens_than_a_request_may_ask_for_are_refused():
    rules = policies(account=account_policy(BudgetLimits(tokens_per_request=4096)))
    assert isinstance(BudgetState().decide(hold_request(1, output_tokens=4096), rules, NOON_MS), Grant)
    refused = BudgetState().decide(hold_request(1, output_tokens=5000), rules, NOON_MS)
    assert refused.code == "request_too_large"
    assert "5,000" in refused.message
    assert "4,096 output tokens per request" in refused.message


def test_f3_a_request_that_sets_no_limit_is_told_which_one_to_set():
    rules = policies(account=account_policy(BudgetLimits(tokens_per_request=500)))
    refused = BudgetState().decide(hold_request(1, output_tokens=2000, output_assumed=True), rules, NOON_MS)
    assert refused.message == (
        "The request sets no max_tokens, so the default of 2,000 output tokens counts, and the limit of account 'shop' "
        "is 500 output tokens per request. Set max_tokens to at most 500."
    )


def test_f3_a_class_of_traffic_that_is_not_allowed_is_named():
    rules = policies(account=account_policy(background=BudgetLimits(requests_per_hour=0)))
    refused = BudgetState().decide(hold_request(1, traffic="background"), rules, NOON_MS)
    assert (
        refused.message
        == "No background work is allowed for account 'shop': the limit is 0 requests per hour."
    )


def test_f3_a_refusal_tells_how_to_ask_for_less():
    state, rules = BudgetState(), policies(account=account_policy(BudgetLimits(microusd_per_day=2_500_000)))
    request = hold_request(1, picousd=2_000_000_000_000)
    state.apply(state.decide(request, rules, NOON_MS).entry)
    state.apply(state.settle(usage_of(request), rules, NOON_MS))
    refused = state.decide(hold_request(2, picousd=750_000_000_000), rules, NOON_MS)
    assert refused.message == (
        "Account 'shop' may spend 2.50 USD per day; 2.00 USD are spent, and this request may cost up to 0.75 USD. Set "
        "a smaller max_tokens, name a cheaper model, have the limit raised, or try again at 2026-11-30 00:00:00 UTC "
        "(in 12 h)."
    )
    never = state.decide(hold_request(3, picousd=3_000_000_000_000), rules, NOON_MS)
    assert never.message == (
        "This request may cost up to 3.00 USD, and account 'shop' may spend 2.50 USD per day. Set a smaller "
        "max_tokens, name a cheaper model, or have the limit raised."
    )


@pytest.mark.parametrize(
    ("limits", "needed", "message"),
    [
        (
            BudgetLimits(microusd_per_day=10),
            {"picousd": 20_070_000_000},
            (
                "User 'anna' of account 'shop' may spend 0.00001 USD per day; 0.000026 USD are spent, and this request "
                "may cost up to 0.02007 USD. Have the limit raised, or try again at 2026-11-30 00:00:00 UTC (in 12 h), "
                "with a request that needs no more than the whole limit."
            ),
        ),
        (
            BudgetLimits(tokens_per_day=20),
            {"tokens": 500},
            (
                "User 'anna' of account 'shop' may use 20 tokens per day; 26 are used, and this request may use up to "
                "500 tokens. Try again at 2026-11-30 00:00:00 UTC (in 12 h), with a request that needs no more than "
                "the whole limit."
            ),
        ),
    ],
)
def test_f3_where_all_is_spent_a_smaller_request_is_not_advised_before_the_limit_begins_anew(
    limits: BudgetLimits, needed: dict[str, int], message: str
):
    state, rules = BudgetState(), policies(user=user_policy(limits))
    request = hold_request(1, picousd=1_000_000, tokens=10)
    state.apply(state.decide(request, rules, NOON_MS).entry)
    state.apply(state.settle(usage_of(request, cost_picousd=26_000_000, input_tokens=26), rules, NOON_MS))
    refused = state.decide(hold_request(2, **needed), rules, NOON_MS)
    assert refused.message == message
    assert refused.retry_after_s is None, "the same request is above the whole limit then too"
    assert refused.limit.resets_at_ms == NOON_MS + 12 * 3_600_000


def test_f4_a_model_without_a_price_is_refused_where_money_is_limited():
    request = hold_request(1, unpriced=("new-model",))
    limited = policies(user=user_policy(BudgetLimits(microusd_per_month=5)))
    refused = BudgetState().decide(request, limited, NOON_MS)
    assert (refused.code, refused.limit) == ("budget_unavailable", None)
    assert "new-model" in refused.message
    assert "`penstock prices set new-model --input" in refused.message
    assert "`when_price_unknown: count_tokens`" in refused.message
    limited.when_price_unknown = "count_tokens"
    assert isinstance(BudgetState().decide(request, limited, NOON_MS), Grant)
    tokens_only = policies(user=user_policy(BudgetLimits(tokens_per_day=50)))
    assert isinstance(BudgetState().decide(request, tokens_only, NOON_MS), Grant)


def test_f4_the_money_limit_of_another_class_does_not_need_a_price():
    rules = policies(account=account_policy(embed=BudgetLimits(microusd_per_day=5)))
    assert isinstance(BudgetState().decide(hold_request(1, unpriced=("m",)), rules, NOON_MS), Grant)


def test_f3_a_soft_limit_refuses_nothing():
    rules = policies(user=user_policy(BudgetLimits(microusd_per_day=0), soft=("microusd_per_day",)))
    assert isinstance(BudgetState().decide(hold_request(1), rules, NOON_MS), Grant)


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        (BudgetLimits(microusd_per_day=0), "budget_exceeded", "0.00 USD per day"),
        (BudgetLimits(microusd_per_month=0), "budget_exceeded", "0.00 USD per month"),
        (BudgetLimits(tokens_per_minute=9), "rate_limited", "9 tokens per minute"),
        (BudgetLimits(tokens_per_day=9), "rate_limited", "9 tokens per day"),
        (BudgetLimits(requests_per_second=0), "rate_limited", "0 requests per second"),
        (BudgetLimits(requests_per_minute=0), "rate_limited", "0 requests per minute"),
        (BudgetLimits(requests_per_hour=0), "rate_limited", "0 requests per hour"),
        (BudgetLimits(concurrency=0), "rate_limited", "0 requests at once"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_f3_a_request_above_a_whole_limit_is_refused_without_a_time_to_retry(
    limits: BudgetLimits, code: str, text: str
):
    refused = BudgetState().decide(hold_request(1), policies(user=user_policy(limits)), NOON_MS)
    assert isinstance(refused, HoldRefused)
    assert (refused.code, refused.retry_after_s) == (code, None)
    assert text in refused.message
    assert refused.message.endswith(".")


def test_c5_requests_at_once_wait_for_each_other():
    state, rules = BudgetState(), policies(account=account_policy(BudgetLimits(concurrency=1)))
    state.apply(state.decide(hold_request(1), rules, NOON_MS).entry)
    waiting = state.decide(hold_request(2), rules, NOON_MS)
    assert isinstance(waiting, Wait)
    assert waiting.refusal.message == (
        "Account 'shop' may have 1 request in progress at once and has 1. "
        "Try again when requests that are in progress have ended."
    )


def test_f3_the_limit_that_frees_last_is_told():
    rules = policies(user=user_policy(BudgetLimits(requests_per_minute=1, requests_per_hour=1)))
    state = BudgetState()
    state.apply(state.decide(hold_request(1), rules, NOON_MS).entry)
    refused = state.decide(hold_request(2), rules, NOON_MS)
    assert refused.limit.limit == "requests_per_hour"
    assert refused.retry_after_s == 3600


def test_f3_a_refusal_tells_the_time_in_the_zone_of_the_account():
    rules = policies(user=user_policy(BudgetLimits(requests_per_hour=1)), zone="Asia/Kolkata")
    state = BudgetState()
    state.apply(state.decide(hold_request(1), rules, NOON_MS).entry)
    refused = state.decide(hold_request(2), rules, NOON_MS)
    assert refused.message == (
        "User 'anna' of account 'shop' may send 1 request per hour and has sent it. "
        "Try again at 18:00:00 +05:30 (in 30 min)."
    )
    assert refused.limit.resets_at_ms == NOON_MS + 1_800_000


def test_f1_a_request_that_costs_nothing_passes_a_spent_budget():
    state, rules = BudgetState(), policies(user=user_policy(BudgetLimits(microusd_per_day=1)))
    request = hold_request(1)
    state.apply(state.decide(request, rules, NOON_MS).entry)
    state.apply(state.settle(usage_of(request, cost_picousd=9_000_000), rules, NOON_MS))
    assert isinstance(state.decide(hold_request(2, picousd=0), rules, NOON_MS), Grant)


def test_f3_a_grant_tells_the_limits_with_the_fewest_left():
    rules = policies(
        account=account_policy(BudgetLimits(requests_per_hour=100, tokens_per_day=25)),
        user=user_policy(BudgetLimits(requests_per_minute=3, tokens_per_minute=1000)),
    )
    answer = BudgetState().decide(hold_request(1), rules, NOON_MS).answer
    assert (answer.requests.scope, answer.requests.left) == ("user", 2)
    assert (answer.tokens.scope, answer.tokens.limit, answer.tokens.left) == ("account", "tokens_per_day", 15)
    assert answer.requests.resets_at_ms == NOON_MS + 60_000


def test_f3_the_status_lists_every_limit_of_an_account():
    state = BudgetState()
    rules = policies(
        account=account_policy(
            BudgetLimits(tokens_per_request=50, microusd_per_day=10, concurrency=4),
            embed=BudgetLimits(requests_per_hour=7),
            soft=("microusd_per_day",),
        )
    )
    state.apply(state.decide(hold_request(1, traffic="embed"), rules, NOON_MS).entry)
    report = state.status(BudgetQuery(scope="account", account="shop"), rules, NOON_MS)
    found = {(limit.limit, limit.traffic): limit for limit in report.limits}
    assert found["requests_per_hour", "embed"].left == 6
    assert found["concurrency", None].held == 1
    assert found["tokens_per_request", None].allowed == 50
    assert found["microusd_per_day", None].soft
    assert (report.held_microusd, report.open_holds) == (1, 1)


def test_f3_a_scope_without_use_has_its_whole_budget():
    rules = policies(user=user_policy(BudgetLimits(microusd_per_month=10)))
    query = BudgetQuery(scope="user", account="shop", name="nobody")
    (limit,) = BudgetState().status(query, rules, NOON_MS).limits
    assert (limit.spent, limit.held, limit.left) == (0, 0, 10)
    assert limit.resets_at_ms == NOON_MS + 36 * 3_600_000


def test_a_policy_object_that_is_replaced_applies_at_once():
    state, rules = BudgetState(), policies(user=user_policy(BudgetLimits(requests_per_hour=0)))
    assert isinstance(state.decide(hold_request(1), rules, NOON_MS), HoldRefused)
    rules.of_user = structs.replace(rules.of_user, limits=BudgetLimits(requests_per_hour=1))
    assert isinstance(state.decide(hold_request(1), rules, NOON_MS), Grant)
