"""F1: an account gets only so much without a hold while no ledger answers."""

from __future__ import annotations

from penstock.bus.clock import Clock
from services.router.budget.unheld_requests import UnheldRequests


def test_f1_an_account_has_a_number_of_requests_without_a_hold_in_a_minute():
    now_s = [1_000.0]
    unheld = UnheldRequests(Clock(lambda: now_s[0], lambda: 0.0), most_per_minute=3)
    assert [unheld.take("shop") for _ in range(5)] == [True] * 3 + [False] * 2
    assert unheld.take("other")
    now_s[0] += 59
    assert not unheld.take("shop")
    now_s[0] += 1
    assert unheld.take("shop")
