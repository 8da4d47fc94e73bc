"""The section `budgets`: amounts in dollars, and its mistakes with their place and fix."""
# ruff: noqa: E501 - a table is read by rows

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.ledger.policies import LIMIT_NAMES, BudgetLimits, BudgetPolicy
from penstock.runtime.config.budgets.section import UNLIMITED, Budgets, TrafficBudget
from penstock.runtime.config.checks import warnings_of
from penstock.runtime.config.printing import catalogue_yaml
from tests.unit.runtime.config.example import RIGHT, load, refused

SECTION = """\
budgets:
  time_zone: Europe/Berlin
  tiers:
    free: {requests_per_hour: 10, tokens_per_day: 10000}
  system: {concurrency: 16, chat: {requests_per_second: 10}}
  every_user: {requests_per_minute: 10, usd_per_day: 10, tier: free}
  accounts:
    shop: {usd_per_month: 500.25, soft: [usd_per_month], users: {ann: {usd_per_day: unlimited}}}
"""


def budgets(section: str) -> Budgets:
    found = load(RIGHT + section).budgets
    assert found is not None
    return found


def test_without_the_section_there_are_no_budgets():
    assert load(RIGHT).budgets is None


def test_f3_budgets_are_read_from_the_catalogue():
    found = budgets(SECTION)
    assert found.tiers["free"].tokens_per_day == 10_000
    assert found.every_user.microusd_per_day == 10_000_000
    shop = found.accounts["shop"]
    assert (shop.microusd_per_month, shop.soft) == (500_250_000, ("microusd_per_month",))
    assert shop.users["ann"].microusd_per_day == UNLIMITED


def test_a_section_becomes_the_policy_with_which_live_records_are_merged():
    found = budgets(SECTION).system.policy("system")
    assert found == BudgetPolicy(
        scope="system", limits=BudgetLimits(concurrency=16), chat=BudgetLimits(requests_per_second=10)
    )


def test_every_limit_of_the_contract_can_be_configured():
    assert TrafficBudget.__struct_fields__ == LIMIT_NAMES


@given(st.integers(0, UNLIMITED - 1))
def test_f4_dollars_are_read_exactly(micro: int):
    dollars = f"{micro // 10**6}.{micro % 10**6:06}"
    assert Fraction(dollars) * 10**6 == micro
    found = budgets(f"budgets: {{system: {{usd_per_day: '{dollars}'}}}}\n")
    assert found.system.microusd_per_day == micro


@pytest.mark.parametrize(
    ("written", "micro"), [("10", 10**7), ("10.50", 10_500_000), ("0.1", 100_000), ("1.0e-05", 10), ("0", 0)]
)
def test_dollars_without_quotes_are_read_exactly(written: str, micro: int):
    assert budgets(f"budgets: {{system: {{usd_per_day: {written}}}}}\n").system.microusd_per_day == micro


@pytest.mark.parametrize(
    ("section", "line", "key", "problem", "fix"),
    [
        ("budgets:\n", 1, "budgets", "empty", "budgets: {}"),
        ("budgets: 4\n", 1, "budgets", "a mapping", "mapping"),
        ("budgets: {time_zone: Berlin}\n", 1, "budgets.time_zone", "not a time zone", "Europe/Berlin"),
        ("budgets: {time_zone: Europe/Berlim}\n", 1, "budgets.time_zone", "not a time zone", "Europe/Berlin"),
        ("budgets: {every_user: {tier: fre}, tiers: {free: {}}}\n", 1, "budgets.every_user.tier", "no tier", "free"),
        ("budgets: {every_user: {tier: free}}\n", 1, "budgets.every_user.tier", "no tier", "budgets.tiers"),
        ("budgets: {system: {request_per_minute: 1}}\n", 1, "budgets.system.request_per_minute", "no such key", "write requests_per_minute"),
        ("budgets: {system: {soft: [usd_per_dy]}}\n", 1, "budgets.system.soft[0]", "one of", "usd"),
        ("budgets:\n  system: {concurrency: -1}\n", 2, "budgets.system.concurrency", "not an amount", "0 allows nothing"),
        ("budgets:\n  system:\n    usd_per_day: -1\n", 3, "budgets.system.usd_per_day", "not an amount", "10.50"),
        ("budgets:\n  system:\n    usd_per_day: ten\n", 3, "budgets.system.usd_per_day", "not an amount", "10.50"),
        ("budgets:\n  system:\n    usd_per_day: true\n", 3, "budgets.system.usd_per_day", "not an amount", "10.50"),
        ("budgets:\n  system:\n    usd_per_day: 0.0000001\n", 3, "budgets.system.usd_per_day", "finer", "10.50"),
        ("budgets:\n  system:\n    usd_per_day: 9999999999\n", 3, "budgets.system.usd_per_day", "more than", "10.50"),
        ("budgets: {system: {usd_per_day: 1, microusd_per_day: 1}}\n", 1, "budgets.system.usd_per_day", "same limit", "one of the two"),
        ("budgets: {accounts: {a.b: {}}}\n", 1, 'budgets.accounts."a.b"', "not a valid name", "A-Z"),
        ("budgets: {tiers: {a b: {}}}\n", 1, 'budgets.tiers."a b"', "not a valid name", "A-Z"),
        ("budgets: {every_user: {time_zone: UTC}}\n", 1, "budgets.every_user.time_zone", "accounts", "account"),
        ("budgets: {accounts: {a: {users: {b: {chat: {}}}}}}\n", 1, "budgets.accounts.a.users.b.chat", "accounts", "account"),
        ("budgets: {assumed_output_tokens: 0}\n", 1, "budgets.assumed_output_tokens", "from 1 to", "without max_tokens"),
        ("budgets: {assumed_output_tokens: 1000001}\n", 1, "budgets.assumed_output_tokens", "from 1 to", "longest"),
        ("budgets: {ledger_wait_s: 0}\n", 1, "budgets.ledger_wait_s", "more than 0", "above 0"),
        ("budgets: {when_price_unknown: ignore}\n", 1, "budgets.when_price_unknown", "one of", "count_tokens"),
    ],
)  # fmt: skip
def test_k6_a_mistake_in_a_budget_is_reported_with_its_place_and_fix(
    section: str, line: int, key: str, problem: str, fix: str
):
    found = {each.key: each for each in refused(RIGHT + section)}
    assert list(found) == [key]
    assert found[key].line == RIGHT.count("\n") + line
    assert problem in found[key].problem
    assert fix in found[key].fix


def test_k6_an_undefined_name_is_to_be_defined_where_there_is_none_to_use():
    (mistake,) = refused(RIGHT + "budgets: {every_user: {tier: free}}\n")
    assert mistake.fix == "define it under budgets.tiers:"


def test_k6_all_mistakes_of_the_section_are_reported_together():
    section = (
        "budgets:\n  time_zone: Mars\n  system: {usd_per_day: -1, tier: x}\n  every_user: {concurency: 1}\n"
    )
    assert len(refused(RIGHT + section)) == 4


def test_k6_printed_budgets_are_valid_input_with_the_same_meaning():
    catalogue = load(RIGHT + SECTION)
    assert load(catalogue_yaml(catalogue, {})) == catalogue


@pytest.mark.parametrize(("section", "warned"), [("", False), ("budgets: {}\n", True)])
def test_f1_a_limit_per_minute_below_the_assumed_output_is_warned_of(section: str, warned: bool):
    scarce = RIGHT.replace("requests_per_minute: 30", "tokens_per_minute: 2000")
    assert any("4,096 unless the role says" in text for text in warnings_of(load(scarce + section))) == warned


def test_processes_with_other_budgets_have_another_digest():
    assert load(RIGHT).digest() != load(RIGHT + SECTION).digest()


@pytest.mark.parametrize(
    ("section", "warned"),
    [
        ("", False),
        ("budgets: {every_user: {usd_per_day: 1}}\n", True),
        ("budgets: {tiers: {free: {chat: {usd_per_month: 1}}}}\n", True),
        ("budgets: {every_user: {usd_per_day: unlimited, tokens_per_day: 1}}\n", False),
        ("budgets: {when_price_unknown: count_tokens, every_user: {usd_per_day: 1}}\n", False),
    ],
)
def test_f4_a_limit_of_money_over_a_model_without_a_price_is_warned_of(section: str, warned: bool):
    found = [text for text in warnings_of(load(RIGHT + section)) if "no price" in text]
    assert bool(found) == warned
    assert all("models.small" in text and "models.large" not in text for text in found)
