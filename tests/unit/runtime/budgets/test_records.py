"""Records of the bucket `llm_budgets`: their keys, and what happens to one that is not valid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.bucket import Record
from penstock.contract import codec
from penstock.contract.ledger.policies import EVERY, BudgetPolicy, PriceOverride, TokenPrices
from penstock.runtime.budgets.records import BudgetRecords, decoded, policy_key, price_key, records_of

ACCOUNT = BudgetPolicy(scope="account", account="shop")
PRICE = PriceOverride(model="openai/gpt-oss-20b", prices=TokenPrices(input=1, output=2))


def record(policy: BudgetPolicy | PriceOverride, sequence: int = 1) -> Record:
    key = policy_key(policy) if isinstance(policy, BudgetPolicy) else price_key(policy.model)
    return Record(key, codec.encode(policy), sequence)


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        (BudgetPolicy(scope="system"), "policy.system"),
        (ACCOUNT, "policy.account.shop"),
        (BudgetPolicy(scope="account", account=EVERY), "policy.account.="),
        (BudgetPolicy(scope="user", account="shop", name=EVERY), "policy.user.shop.="),
        (BudgetPolicy(scope="user", account=EVERY, name=EVERY), "policy.user.=.="),
        (BudgetPolicy(scope="key", account="shop", name="abcd2345"), "policy.key.shop.abcd2345"),
        (BudgetPolicy(scope="tier", name="pro"), "policy.tier.pro"),
    ],
)
def test_f3_each_scope_has_a_record_of_its_own(policy: BudgetPolicy, key: str):
    assert policy_key(policy) == key
    assert decoded(record(policy)) == policy


@given(st.text(min_size=1), st.text(min_size=1))
def test_f3_users_of_any_name_have_records_of_their_own(first: str, second: str):
    keys = [policy_key(BudgetPolicy(scope="user", account="shop", name=name)) for name in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)
    assert all(key.count(".") == 3 for key in keys)


@given(st.text(min_size=1), st.text(min_size=1))
def test_f4_models_of_any_name_have_prices_of_their_own(first: str, second: str):
    assert (price_key(first) == price_key(second)) == (first == second)
    assert price_key(first).count(".") == 1


@pytest.mark.parametrize(
    "policy",
    [
        BudgetPolicy(scope="system", account="a"),
        BudgetPolicy(scope="tier", account="a", name="b"),
        BudgetPolicy(scope="tier"),
        BudgetPolicy(scope="tier", name="a.b"),
        BudgetPolicy(scope="account"),
        BudgetPolicy(scope="account", account="a.b"),
        BudgetPolicy(scope="account", account="a", name="b"),
        BudgetPolicy(scope="user", account="a"),
        BudgetPolicy(scope="key", account="a", name="a.b"),
    ],
)
def test_names_that_do_not_fit_the_scope_are_rejected(policy: BudgetPolicy):
    with pytest.raises(ValueError, match=r"policy|valid"):
        policy_key(policy)


BROKEN = [
    Record("policy.account.shop", b"{", 2),
    Record("policy.account.shop", b"\xff", 2),
    Record("policy.account.shop", b'{"a":' * 50_000, 2),
    Record("policy.account.shop", b'{"type": "budget_policy", "scope": "account"}', 2),
    Record("policy.account.shop", codec.encode(BudgetPolicy(scope="account", account="other")), 2),
    Record(
        "policy.account.shop",
        codec.encode(BudgetPolicy(scope="account", account="shop", time_zone="Mars")),
        2,
    ),
    Record(
        "policy.account.shop",
        b'{"type": "budget_policy", "scope": "account", "limits": {"concurrency": -1}}',
        2,
    ),
    Record("policy.account.shop", codec.encode(PRICE), 2),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda record: record.data[:80].decode(errors="replace"))
def test_f3_in_place_of_a_record_that_is_not_valid_the_last_one_stays(
    broken: Record, caplog: pytest.LogCaptureFixture
):
    first = records_of([record(ACCOUNT), record(PRICE)], BudgetRecords())
    assert (list(first.policies.values()), list(first.prices.values())) == ([ACCOUNT], [PRICE])
    assert records_of([broken, record(PRICE)], first) == first
    assert "the last one stays" in caplog.text
    assert records_of([broken], BudgetRecords()) == BudgetRecords()
    assert records_of([], first) == BudgetRecords()
