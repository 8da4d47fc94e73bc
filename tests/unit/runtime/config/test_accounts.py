"""The sections `every_account` and `accounts`, and their mistakes with their place and fix."""

from __future__ import annotations

import pytest

from penstock.runtime.config.accounts import IntakeRate, intake_rate_of, weight_of
from penstock.runtime.config.printing import catalogue_yaml
from tests.unit.runtime.config.example import RIGHT, load, refused

SECTION = """\
every_account: {requests_per_s: 50, burst: 200}
accounts:
  shop: {requests_per_s: 500, weight: 4}
  slow: {burst: 7}
  big: {weight: 0.5}
"""


def test_without_the_sections_there_is_no_limit_and_every_share_is_equal():
    catalogue = load(RIGHT)
    assert intake_rate_of("any", catalogue.accounts, catalogue.every_account) == IntakeRate()
    assert weight_of("any", catalogue.accounts) == 1
    assert load(RIGHT + "every_account: {}\naccounts: {}\n").digest() == catalogue.digest()
    assert load(RIGHT + SECTION).digest() != catalogue.digest()


@pytest.mark.parametrize(
    ("account", "rate", "burst", "weight"),
    [("any", 50, 200, 1), ("shop", 500, 500, 4), ("slow", 50, 7, 1), ("big", 50, 200, 0.5)],
)
def test_an_account_has_its_own_rate_or_that_of_every_account(account, rate, burst, weight):
    catalogue = load(RIGHT + SECTION)
    found = intake_rate_of(account, catalogue.accounts, catalogue.every_account)
    assert (found.requests_per_s, found.burst_or_default) == (rate, burst)
    assert weight_of(account, catalogue.accounts) == weight
    assert load(catalogue_yaml(catalogue, {})) == catalogue


def test_a_rate_below_one_per_second_lets_one_request_through_at_once():
    assert IntakeRate(requests_per_s=0.2).burst_or_default == 1


@pytest.mark.parametrize(
    ("section", "line", "key", "problem", "fix"),
    [
        ("accounts: 4\n", 1, "accounts", "a mapping", "mapping"),
        ("accounts:\n  a.b: {}\n", 2, 'accounts."a.b"', "not a valid name", "A-Z"),
        ("accounts:\n  s: {requests_per_s: 1e+06}\n", 2, "accounts.s.requests_per_s", "a number", "1000000 for 1e+06"),
        ("accounts:\n  s: {requests_per_s: 9, burst: 5E2}\n", 2, "accounts.s.burst", "a whole number", "all digits"),
        ("accounts:\n  shop: {wait: 2}\n", 2, "accounts.shop.wait", "no such key", "weight"),
        ("accounts:\n  shop: {weight: 0}\n", 2, "accounts.shop.weight", "between 0.1 and 100", "number"),
        ("accounts:\n  shop: {weight: .nan}\n", 2, "accounts.shop.weight", "", ""),
        ("accounts:\n  shop: {weight: '2'}\n", 2, "accounts.shop.weight", "a number", "quotes"),
        ("accounts:\n  shop: {requests_per_s: -1}\n", 2, "accounts.shop.requests_per_s", "between 0.001", "number"),
        ("accounts:\n  shop: {requests_per_s: 5, burst: 0}\n", 2, "accounts.shop.burst", "between 1", "number"),
        ("accounts:\n  shop: {requests_per_s: 5, burst: 1.5}\n", 2, "accounts.shop.burst", "whole number", "whole"),
        ("accounts:\n  shop: {burst: 5}\n", 2, "accounts.shop.burst", "no effect", "requests_per_s"),
        ("every_account: {burst: 5}\n", 1, "every_account.burst", "no effect", "requests_per_s"),
        ("every_account: {weight: 5}\n", 1, "every_account.weight", "no such key", "burst"),
        ("every_account: {requests_per_s: .inf}\n", 1, "every_account.requests_per_s", "between", "number"),
    ],
)  # fmt: skip
def test_each_mistake_names_its_line_and_its_fix(section, line, key, problem, fix):
    (found,) = refused(RIGHT + section)
    assert (found.line, found.key) == (RIGHT.count("\n") + line, key)
    assert problem in found.problem
    assert fix in found.fix
