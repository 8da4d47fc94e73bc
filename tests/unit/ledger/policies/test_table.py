"""F3: the policy in force is the most specific one, limit by limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.ledger.policies import EVERY, LIMIT_NAMES, BudgetLimits, BudgetPolicy
from penstock.runtime.budgets.records import BudgetRecords, policy_key
from penstock.runtime.config.budgets.section import (
    UNLIMITED,
    AccountBudget,
    Budgets,
    ScopeBudget,
    TierBudget,
    TrafficBudget,
)
from services.ledger.policies.table import PolicyTable

FREE = TierBudget(requests_per_hour=10, tokens_per_day=10_000)
PRO = TierBudget(requests_per_hour=100, tokens_per_day=100_000)
CONFIGURED = Budgets(
    tiers={"free": FREE, "pro": PRO},
    every_account=ScopeBudget(microusd_per_day=20),
    every_user=ScopeBudget(microusd_per_day=10, requests_per_minute=10, tier="free"),
    accounts={
        "shop": AccountBudget(
            tier="pro",
            time_zone="Europe/Berlin",
            users={"ann": ScopeBudget(microusd_per_day=7)},
            every_user=ScopeBudget(concurrency=2),
        )
    },
)


def live(*policies: BudgetPolicy) -> BudgetRecords:
    return BudgetRecords({policy_key(policy): policy for policy in policies})


def table(*policies: BudgetPolicy, budgets: Budgets = CONFIGURED) -> PolicyTable:
    made = PolicyTable(budgets)
    made.replace(live(*policies))
    return made


def own(scope: str, account: str = "", name: str = "", **fields: object) -> BudgetPolicy:
    limits = {key: fields.pop(key) for key in LIMIT_NAMES if key in fields}
    return BudgetPolicy(
        scope=scope, account=account, name=name, limits=BudgetLimits(**limits), version=3, **fields
    )


def test_f3_a_scope_without_a_policy_has_the_one_of_every_such_scope():
    policies = table()
    assert policies.account("other").limits == BudgetLimits(microusd_per_day=20)
    assert policies.user("other", "bob").limits == BudgetLimits(
        microusd_per_day=10, requests_per_minute=10, requests_per_hour=10, tokens_per_day=10_000
    )
    assert policies.key("other", "abc").limits == BudgetLimits()
    assert policies.system().limits == BudgetLimits()


def test_f3_an_account_has_the_limits_of_its_tier_and_then_those_of_every_account():
    shop = table().account("shop")
    assert shop.tier == "pro"
    assert shop.limits == BudgetLimits(requests_per_hour=100, tokens_per_day=100_000, microusd_per_day=20)


def test_f3_the_configuration_of_a_user_precedes_that_of_every_user_of_its_account():
    limits = table().user("shop", "ann").limits
    assert (limits.microusd_per_day, limits.concurrency, limits.requests_per_minute) == (7, 2, 10)
    assert table().user("shop", "bob").limits.microusd_per_day == 10


def test_f3_each_limit_comes_from_the_most_specific_policy_that_has_it():
    layers = [
        own("user", "shop", "ann", requests_per_second=1, tier="pro"),
        own("tier", name="pro", tokens_per_day=5),
        own("user", "shop", EVERY, concurrency=4),
        own("user", EVERY, EVERY, requests_per_minute=6, tier="free"),
    ]
    assert table(*layers).user("shop", "ann").limits == BudgetLimits(
        requests_per_second=1,  # its live record
        microusd_per_day=7,  # its entry in the configuration
        tokens_per_day=5,  # the live record of its tier
        requests_per_hour=100,  # the tier in the configuration
        concurrency=4,  # the live record of every user of the account
        requests_per_minute=6,  # the live record of every user
    )


def test_f3_a_tier_of_its_own_replaces_that_of_every_user():
    policy = table(own("user", "other", "bob", tier="pro")).user("other", "bob")
    assert (policy.tier, policy.limits.tokens_per_day) == ("pro", 100_000)


def test_an_unknown_tier_adds_no_limits():
    assert table(own("account", "a", tier="gone")).account("a").limits == BudgetLimits(microusd_per_day=20)


def test_unlimited_removes_an_inherited_limit():
    policy = table(own("account", "a", microusd_per_day=UNLIMITED)).account("a")
    assert policy.limits == BudgetLimits()


def test_parts_of_the_traffic_are_merged_like_the_whole():
    budgets = Budgets(system=ScopeBudget(chat=TrafficBudget(requests_per_second=10, concurrency=16)))
    policy = table(BudgetPolicy(scope="system", chat=BudgetLimits(concurrency=8)), budgets=budgets).system()
    assert policy.chat == BudgetLimits(requests_per_second=10, concurrency=8)
    assert policy.embed is None


@pytest.mark.parametrize("disabled", ["own", "tier", "every"])
def test_f3_any_policy_that_applies_can_disable(disabled: str):
    policies = {
        "own": own("account", "a", disabled=True),
        "tier": own("tier", name="free", disabled=True),
        "every": own("account", EVERY, disabled=True),
    }
    found = table(own("account", "a", tier="free"), policies[disabled])
    assert found.account("a").disabled
    assert not found.account("shop").disabled or disabled == "every"


def test_a_limit_is_soft_where_the_policy_that_decides_it_says_so():
    every = own("account", EVERY, concurrency=1, soft=("concurrency",))
    assert table(every).account("a").soft == ("concurrency",)
    assert table(every, own("account", "a", concurrency=2)).account("a").soft == ()
    assert table(own("account", "a", soft=("microusd_per_day",))).account("a").soft == ("microusd_per_day",)


def test_a_time_zone_comes_from_the_account_or_else_from_the_section():
    policies = table(own("account", "a", time_zone="Asia/Tokyo"))
    assert [policies.time_zone(name) for name in ("a", "shop", "b", "")] == [
        "Asia/Tokyo",
        "Europe/Berlin",
        "",
        "",
    ]
    assert PolicyTable(Budgets(time_zone="Asia/Tokyo")).time_zone("") == "Asia/Tokyo"


def test_a_policy_names_who_changed_it():
    policy = table(own("account", "a", changed_by="ann", changed_ms=9, note="trial")).account("a")
    assert (policy.version, policy.changed_by, policy.changed_ms, policy.note) == (3, "ann", 9, "trial")


def test_a_change_applies_at_once_and_is_reported():
    policies = table(own("account", "a", concurrency=1), own("account", "b", concurrency=1))
    assert policies.account("a").limits.concurrency == 1
    new = own("account", "a", concurrency=2)
    assert policies.replace(live(new)) == [
        (own("account", "a", concurrency=1), new),
        (own("account", "b", concurrency=1), None),
    ]
    assert policies.account("a").limits.concurrency == 2
    assert policies.account("b").limits.concurrency is None


def test_f3_what_applies_to_a_tier_or_to_every_user_can_be_asked():
    policies = table(own("tier", name="free", requests_per_hour=1))
    assert policies.of(BudgetPolicy(scope="tier", name="free")).limits == BudgetLimits(
        requests_per_hour=1, tokens_per_day=10_000
    )
    every = BudgetPolicy(scope="user", account="shop", name=EVERY)
    assert policies.of(every).limits == policies.user("shop", "bob").limits
    ann = BudgetPolicy(scope="user", account="shop", name="ann")
    assert policies.of(ann) == policies.user("shop", "ann")
    assert policies.tiers() == ["free", "pro"]
    assert {policy.tier for policy in policies.with_tier()} == {"free", "pro"}


def test_users_without_a_policy_share_one_object_that_is_returned_until_a_change():
    policies = table()
    assert policies.user("other", "bob") is policies.user("another", "eve")
    assert policies.account("shop") is policies.account("shop")


AMOUNTS = st.none() | st.integers(0, 5)


@given(st.lists(AMOUNTS, min_size=6, max_size=6))
def test_f3_for_any_policies_the_first_with_the_limit_decides(amounts: list[int | None]):
    """The order of the contract: live, configured, live tier, configured tier, live every, configured every."""
    names = ("own", "configured", "tier", "configured_tier", "every", "configured_every")
    given_amounts = dict(zip(names, amounts, strict=True))
    budgets = Budgets(
        tiers={"t": TierBudget(concurrency=given_amounts["configured_tier"])},
        every_account=ScopeBudget(concurrency=given_amounts["configured_every"]),
        accounts={"a": AccountBudget(concurrency=given_amounts["configured"], tier="t")},
    )
    found = table(
        own("account", "a", concurrency=given_amounts["own"]),
        own("tier", name="t", concurrency=given_amounts["tier"]),
        own("account", EVERY, concurrency=given_amounts["every"]),
        budgets=budgets,
    ).account("a")
    assert found.limits.concurrency == next((each for each in amounts if each is not None), None)
