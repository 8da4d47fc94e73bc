"""The text of budgets and prices."""

from __future__ import annotations

import msgspec

from penstock.cli.render.budget import (
    alerts_text,
    history_text,
    policies_text,
    report_text,
    scope_policy_text,
    without_absent_limits,
)
from penstock.cli.render.prices import ListedPrice, prices_text
from penstock.contract.events import BudgetAlerted, BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy, PriceOverride, TokenPrices
from penstock.contract.ledger.status import BudgetReport, BudgetStatus
from penstock.runtime.budgets.describe import alert_text, in_force_text, policy_text
from penstock.runtime.config.budgets.section import UNLIMITED

NOON_MS = 1_796_040_000_000
SHOP = BudgetPolicy(
    scope="account",
    account="shop",
    tier="pro",
    limits=BudgetLimits(microusd_per_day=10_500_000, tokens_per_day=UNLIMITED),
    soft=("microusd_per_day",),
    version=2,
    changed_by="ann",
    changed_ms=NOON_MS,
    note="trial",
)


def report(*limits: LimitStatus, policy: BudgetPolicy = SHOP) -> BudgetReport:
    status = BudgetStatus(
        scope="account",
        account="shop",
        policy=policy,
        limits=limits,
        spent_today_microusd=6_200_000,
        spent_this_month_microusd=60_000_001,
        held_microusd=100_000,
        open_holds=1,
    )
    return BudgetReport(status=status, at_ms=NOON_MS)


def test_f3_a_report_shows_what_is_spent_held_and_left_and_when_it_resets():
    limits = (
        LimitStatus(
            scope="account",
            limit="microusd_per_day",
            allowed=10_000_000,
            spent=6_200_000,
            held=100_000,
            left=3_700_000,
            resets_at_ms=NOON_MS,
        ),
        LimitStatus(scope="account", limit="requests_per_second", traffic="chat", allowed=0, soft=True),
        LimitStatus(scope="account", limit="concurrency", allowed=16, spent=0, held=20, left=0),
    )
    assert report_text(report(*limits), {}).splitlines() == [
        "account shop (tier pro), 2026-11-30 12:00:00 UTC",
        "  spent $6.20 today, $60.000001 this month; $0.10 held for 1 request",
        "  limit                             used              spent   held   left      of  resets (UTC)",
        "  ────────────────────────────────  ──────────  ────  ─────  ─────  ─────  ──────  ───────────────────",
        "  usd_per_day                       ██████░░░░   63%  $6.20  $0.10  $3.70  $10.00  2026-11-30 12:00:00",
        "  chat: requests_per_second (soft)  ██████████  100%      0      0      0       0  -",
        "  concurrency                       ██████████  100%      0     20      0      16  -",
    ]


def test_f3_a_disabled_account_and_one_without_limits_say_so():
    text = report_text(report(policy=BudgetPolicy(scope="account", account="shop", disabled=True)), {})
    assert "disabled: every request is refused" in text
    assert text.endswith("no limits")


def test_f3_a_report_says_where_a_limit_is_from_and_that_a_tier_is_missing():
    limit = LimitStatus(scope="account", limit="concurrency", allowed=4)
    text = report_text(report(limit), {(None, "concurrency"): "tier gold"}, lacking="gold")
    assert "error: the tier gold does not exist" in text
    titles, _, row = text.splitlines()[-3:]
    assert titles.endswith("resets (UTC)  from")
    assert row.endswith("tier gold")


def test_f3_a_tier_is_shown_with_its_limits():
    policy = BudgetPolicy(
        scope="tier",
        name="free",
        limits=BudgetLimits(requests_per_hour=10),
        chat=BudgetLimits(concurrency=2),
        soft=("requests_per_hour",),
    )
    sources = {
        (None, "requests_per_hour"): "set",
        ("chat", "concurrency"): "catalogue",
        (None, "tokens_per_day"): "",
    }
    assert [" ".join(line.split()) for line in scope_policy_text(policy, sources).splitlines()] == [
        "tier free",
        "limit of from",
        "──────────────────────── ── ─────────",
        "requests_per_hour (soft) 10 set",
        "chat: concurrency 2 catalogue",
    ]
    assert scope_policy_text(BudgetPolicy(scope="user", account="*", name="*"), {}).endswith("no limits")


def test_f3_alerts_show_the_budget_and_its_limit():
    alert = BudgetAlerted(
        scope="user",
        account="shop",
        name="ann",
        limit="microusd_per_day",
        percent=80,
        spent=8_050_000,
        allowed=10_000_000,
        period_start_ms=0,
        resets_at_ms=NOON_MS,
        at_ms=NOON_MS,
    )
    row = " ".join(alerts_text([alert]).splitlines()[-1].split())
    assert row == "2026-11-30 12:00:00 user ann of shop usd_per_day 80% $8.05 $10.00 2026-11-30 12:00:00"
    assert alerts_text([]).startswith("No budget has reached")
    assert alert_text(alert) == "budget of user ann of shop: 80% of usd_per_day used ($8.05 of $10.00)"


def test_f3_plain_data_has_only_the_limits_that_there_are():
    found = without_absent_limits(
        msgspec.to_builtins([BudgetPolicyChanged(after=SHOP, changed_by="a", at_ms=1)])
    )
    (change,) = found
    assert change["before"] is None
    assert change["after"]["limits"] == {"microusd_per_day": 10_500_000, "tokens_per_day": UNLIMITED}
    assert "chat" not in change["after"]


def test_f3_a_policy_that_sets_nothing_says_so_and_soft_limits_are_named():
    nothing = BudgetPolicy(scope="account", account="shop")
    assert policy_text(nothing) == policy_text(None) == "nothing of its own"
    soft = BudgetPolicy(scope="account", account="shop", soft=("microusd_per_month",))
    assert policy_text(soft) == "usd_per_month soft"
    assert in_force_text(nothing) == "no limits"
    assert in_force_text(BudgetPolicy(scope="account", account="shop", tier="gone")) == "tier gone, no limits"


def test_f3_the_list_shows_the_policy_and_who_changed_it():
    row = policies_text([SHOP]).splitlines()[-1]
    assert "account shop" in row
    assert "tier pro, tokens_per_day unlimited, usd_per_day $10.50 (soft)" in row
    assert row.endswith("2        ann         2026-11-30 12:00:00  trial")
    assert "No budget was changed" in policies_text([])


def test_f3_the_history_shows_before_and_after():
    removed = BudgetPolicyChanged(before=SHOP, changed_by="bob", at_ms=NOON_MS)
    price = PriceOverride(model="m", prices=TokenPrices(input=150_000, output=75_500, cached_input=1))
    priced = PriceChanged(after=price, changed_by="eve", at_ms=NOON_MS)
    assert history_text([removed, priced]).splitlines() == [
        "2026-11-30 12:00:00  bob  budget of account shop",
        "    before: tier pro, tokens_per_day unlimited, usd_per_day $10.50 (soft)",
        "    after:  nothing of its own",
        "2026-11-30 12:00:00  eve  price of m",
        "    before: nothing of its own",
        "    after:  input $0.15, output $0.0755, cached input $0.000001 per million tokens",
    ]
    assert "was changed" in history_text([])


def test_a_user_with_control_characters_cannot_write_to_the_terminal():
    policy = BudgetPolicy(scope="user", account="shop", name="\x1b[2J")
    assert "\x1b" not in policies_text([policy])
    assert "\x1b" not in history_text([BudgetPolicyChanged(after=policy, changed_by="\x1b", at_ms=0)])


def test_f4_prices_show_their_date_source_and_who_changed_them():
    listed = [
        ListedPrice(
            model="a", prices=TokenPrices(input=150_000, output=600_000), as_of="2026-11-30", source="list"
        ),
        ListedPrice(model="b", prices=TokenPrices(input=0, output=0, reasoning=5_000_000), changed_by="ann"),
        ListedPrice(model="c", prices=None),
    ]
    rows = [" ".join(row.split()) for row in prices_text(listed).splitlines()[2:]]
    assert rows == [
        "a $0.15 $0.60 - - 2026-11-30 catalogue list",
        "b $0.00 $0.00 - reasoning $5.00 - set by ann -",
        "c unknown unknown unknown - - catalogue -",
    ]
