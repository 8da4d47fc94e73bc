"""The rate of an account bounds what the routers take of it, all together."""

from __future__ import annotations

import pytest

from penstock.runtime.config.accounts import AccountRules, IntakeRate
from services.router.intake.rates import IntakeRates, limits_intake


class ManualClock:
    """Time that only the test lets pass."""

    def __init__(self) -> None:
        self._now_s = 1000.0

    def monotonic_s(self) -> float:
        return self._now_s

    def unix_ms(self) -> int:
        return int(self._now_s * 1000)

    def unix_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


ACCOUNTS = {"shop": AccountRules(requests_per_s=10, burst=20), "free": AccountRules(weight=2)}


def taken(rates: IntakeRates, account: str, requests: int) -> int:
    return sum(rates.refused_s(account) is None for _ in range(requests))


@pytest.mark.parametrize("routers", [1, 2, 5])
def test_the_routers_take_the_burst_and_then_the_rate_together(routers: int):
    clock = ManualClock()
    each = [IntakeRates(ACCOUNTS, IntakeRate(), lambda: routers, clock) for _ in range(routers)]
    assert sum(taken(rates, "shop", 100) for rates in each) == 20
    clock.advance(1.0)
    assert sum(taken(rates, "shop", 100) for rates in each) == 10
    clock.advance(3600)
    assert sum(taken(rates, "shop", 100) for rates in each) == 20


def test_a_refusal_says_when_the_next_request_is_taken():
    clock = ManualClock()
    rates = IntakeRates(ACCOUNTS, IntakeRate(), lambda: 1, clock)
    taken(rates, "shop", 20)
    wait_s = rates.refused_s("shop")
    assert wait_s == pytest.approx(0.1)
    clock.advance(wait_s + 1e-9)
    assert rates.refused_s("shop") is None


def test_an_account_without_a_rate_is_never_refused_and_accounts_are_counted_apart():
    rates = IntakeRates(ACCOUNTS, IntakeRate(), lambda: 1, ManualClock())
    assert taken(rates, "free", 1000) == taken(rates, "any", 1000) == 1000
    every = IntakeRates(ACCOUNTS, IntakeRate(requests_per_s=1, burst=3), lambda: 1, ManualClock())
    assert [taken(every, name, 9) for name in ("a", "b", "free", "shop")] == [3, 3, 3, 9]


def test_only_a_rate_switches_the_check_on():
    assert limits_intake(ACCOUNTS, IntakeRate())
    assert limits_intake({}, IntakeRate(requests_per_s=5))
    assert not limits_intake({"a": AccountRules(weight=3)}, IntakeRate())
