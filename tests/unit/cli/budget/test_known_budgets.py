"""Which budget each limit comes from, as `penstock budget show` tells it."""

from __future__ import annotations

from penstock.cli.budget.known_budgets import KnownBudgets
from penstock.contract.ledger.policies import EVERY, BudgetLimits, BudgetPolicy
from penstock.runtime.budgets.records import BudgetRecords
from tests.unit.runtime.config.example import RIGHT, load

SECTION = """\
budgets:
  tiers: {free: {requests_per_hour: 10}}
  every_user: {requests_per_minute: 10, tokens_per_day: 5}
  accounts: {shop: {every_user: {tier: free}, users: {ann: {usd_per_day: 2, tokens_per_day: unlimited}}}}
"""
ANN = BudgetPolicy(scope="user", account="shop", name="ann")
KNOWN = KnownBudgets(BudgetRecords(), load(RIGHT + SECTION))


def test_f3_each_limit_has_the_most_specific_budget_that_names_it():
    own = BudgetPolicy(
        scope="user", account="shop", name="ann", limits=BudgetLimits(concurrency=1), version=1
    )
    assert KNOWN.with_record(ANN, own).sources(ANN) == {
        (None, "requests_per_minute"): "every user",
        (None, "requests_per_hour"): "tier free",
        (None, "tokens_per_day"): "",
        (None, "microusd_per_day"): "catalogue",
        (None, "concurrency"): "own",
    }


def test_f3_a_removed_record_leaves_what_the_catalogue_says():
    own = BudgetPolicy(scope="user", account="shop", name="ann", tier="gone", version=1)
    known = KNOWN.with_record(ANN, own)
    assert known.in_force(ANN).tier == "gone"
    assert known.lacks_tier("gone")
    assert known.with_record(ANN, None).in_force(ANN) == KNOWN.in_force(ANN)
    assert not KNOWN.lacks_tier("free")
    assert not KnownBudgets(BudgetRecords(), None).lacks_tier("free"), "the catalogue is not known here"


def test_f3_every_user_inherits_from_less_specific_ones():
    named = BudgetPolicy(scope="user", account="shop", name=EVERY)
    assert set(KNOWN.sources(named).values()) == {"every user", "tier free"}
