"""G2: guard policies as records of their bucket."""

from __future__ import annotations

import logging

import msgspec
import pytest

from penstock.bus.bucket import Record
from penstock.contract import codec
from penstock.contract.guard.policies import EVERY, GuardPolicy
from penstock.runtime.guard.records import decoded, policy_key, records_of

SHOP = GuardPolicy(account="shop", mode="before", input={"personal_data/email": "redact"}, version=3)
ALL = GuardPolicy(account=EVERY, output={"hate": "block"})


def record(policy: GuardPolicy, key: str | None = None) -> Record:
    return Record(key or policy_key(policy.account), codec.encode(policy), 1)


@pytest.mark.parametrize("policy", [SHOP, ALL])
def test_g2_a_policy_is_read_as_it_was_stored(policy: GuardPolicy):
    assert decoded(record(policy)) == policy


def test_g2_an_account_named_every_has_a_policy_of_its_own():
    assert policy_key("every") != policy_key(EVERY)


@pytest.mark.parametrize("account", ["", "a.b", "ü", "a b", "**"])
def test_g2_an_account_that_cannot_exist_has_no_key(account: str):
    with pytest.raises(ValueError, match="account"):
        policy_key(account)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (Record("account.shop", b"{", 1), "truncated"),
        (Record("account.shop", b'{"type":"guard_policy","account":"shop","mode":"x"}', 1), "mode"),
        (record(SHOP, "account.other"), "belongs to the key account.shop"),
        (record(SHOP, "every"), "belongs to the key account.shop"),
        (record(msgspec.structs.replace(SHOP, input={"hat": "block"})), "input: hat is not a category"),
        (
            record(msgspec.structs.replace(SHOP, output={"secrets/email": "flag"})),
            "output: secrets/email is not a cat",
        ),
        (record(msgspec.structs.replace(SHOP, output={"hate": "redact"})), "hate cannot be redacted"),
    ],
)
def test_g2_a_record_that_is_not_valid_says_why(stored: Record, reason: str):
    with pytest.raises(ValueError, match=reason):
        decoded(stored)


def test_g2_in_place_of_a_record_that_is_not_valid_the_last_one_stays(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    last = records_of([record(SHOP)], {})
    broken = [Record("account.shop", b"{", 2), record(ALL), Record("account.other", b"{", 3)]
    assert records_of(broken, last) == {"shop": SHOP, EVERY: ALL}
    assert "llm_guard/account.shop holds no valid record, the last one stays" in caplog.text
    assert records_of([], last) == {}
