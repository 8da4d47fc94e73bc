"""F1: holds that wait: decided in the order of arrival, and bounded."""

from __future__ import annotations

from penstock.bus.tracing import NO_SPAN
from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import Scope
from services.ledger.partitions.asked import AskedHold, Question
from services.ledger.partitions.waiting import Waiter, Waiting


def request(name: str, user: str = "", account: str = "shop") -> HoldRequest:
    return HoldRequest(
        id=f"{account}.client.{name}",
        account=account,
        user=user,
        role="chat",
        picousd=1,
        tokens=1,
        deadline_ms=1,
    )


def waiter(asked: HoldRequest, scope: Scope = "account", until_s: float = 10) -> Waiter:
    limit = LimitStatus(scope=scope, limit="concurrency", allowed=1)
    refusal = HoldRefused(id=asked.id, code="rate_limited", message="", limit=limit)
    return Waiter(AskedHold(asked, Question(b"", "reply", {}, 0), NO_SPAN), refusal, until_s)


def admitted(waiting: Waiting, *fitting: str) -> list[str]:
    """The names that are decided when these fit."""
    seen: list[str] = []

    def decide(each: Waiter) -> HoldRefused | None:
        name = each.asked.request.id.rpartition(".")[2]
        seen.append(name)
        return None if name in fitting else each.refusal

    waiting.admit("shop", decide)
    return seen


def test_f1_waiting_requests_are_decided_in_the_order_of_arrival() -> None:
    waiting = Waiting()
    for name in ("a", "b", "c"):
        waiting.add(waiter(request(name)))
    assert admitted(waiting, "a", "b") == ["a", "b", "c"]
    assert len(waiting) == 1


def test_f1_a_request_that_fits_does_not_wait_behind_a_large_one() -> None:
    waiting = Waiting()
    waiting.add(waiter(request("large")))
    waiting.add(waiter(request("small")))
    assert admitted(waiting, "small") == ["large", "small"]
    assert len(waiting) == 1


def test_f1_the_same_request_asked_again_keeps_its_place() -> None:
    waiting = Waiting()
    waiting.add(waiter(request("first")))
    waiting.add(waiter(request("second")))
    waiting.add(waiter(request("first"), until_s=20))
    assert [each.asked.request.id[-6:] for each in waiting.take_expired(10)] == ["second"]
    assert len(waiting) == 1


def test_f1_the_number_of_waiting_requests_is_bounded() -> None:
    waiting = Waiting(most=3, most_per_account=2)
    a, b, c = (waiter(request(name)) for name in "abc")
    assert [waiting.add(each) for each in (a, b, c)] == [None, None, c]
    assert len(waiting) == 2


def test_f1_an_account_with_many_waiting_requests_makes_room_for_another() -> None:
    waiting = Waiting(most=3, most_per_account=3)
    a, b, c = (waiter(request(name)) for name in "abc")
    assert [waiting.add(each) for each in (a, b, c)] == [None, None, None]
    assert waiting.add(waiter(request("a", account="other"))) == c
    second = waiter(request("b", account="other"))
    assert waiting.add(second) == second
    assert waiting.accounts == ("shop", "other")
    assert len(list(waiting.take_all())) == 3
    assert len(waiting) == 0
