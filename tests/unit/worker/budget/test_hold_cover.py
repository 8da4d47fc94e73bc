"""F1: when the hold of a request has to grow."""

from __future__ import annotations

from penstock.contract.ledger.policies import TokenPrices
from services.worker.budget.hold_cover import (
    NOTHING,
    Amount,
    AttemptTokens,
    attempt_amount,
    attempt_tokens,
    needed_hold,
)
from tests.unit.worker.worker_parts import work

PRICES = TokenPrices(input=2, output=10)


def test_f1_the_first_attempt_at_a_model_that_the_hold_covers_asks_nothing() -> None:
    request = work(hold_id="a.c.r", hold_tokens=29 + 20, hold_picousd=29 * 2 + 20 * 10)
    tokens = attempt_tokens(request, output_tokens=20)
    assert tokens == AttemptTokens(input_tokens=29, output_tokens=20)
    held = Amount(request.hold_picousd, request.hold_tokens)
    assert needed_hold(held, NOTHING, attempt_amount(tokens, PRICES)) is None
    cheaper = TokenPrices(input=1, output=10)
    assert needed_hold(held, NOTHING, attempt_amount(tokens, cheaper)) is None


def test_f1_several_choices_are_part_of_what_the_router_reserved() -> None:
    request = work(hold_id="a.c.r", hold_tokens=29 + 3 * 20)
    assert attempt_tokens(request, output_tokens=20).output_tokens == 60


def test_f1_work_without_a_reserved_amount_is_estimated_by_its_output_limit() -> None:
    assert attempt_tokens(work(hold_id="a.c.r"), output_tokens=20) == AttemptTokens(29, 20)


def test_f1_what_attempts_cost_so_far_is_added_to_the_next_one() -> None:
    held, spent, following = Amount(100, 10), Amount(30, 4), Amount(80, 8)
    assert needed_hold(held, spent, following) == Amount(110, 12)


def test_f1_a_dearer_model_needs_more_although_nothing_was_spent() -> None:
    assert needed_hold(Amount(100, 10), NOTHING, Amount(150, 10)) == Amount(150, 10)


def test_f1_an_attempt_within_what_is_left_asks_nothing() -> None:
    assert needed_hold(Amount(100, 20), Amount(30, 4), Amount(70, 16)) is None


def test_f4_an_attempt_at_a_model_without_a_price_costs_tokens_only() -> None:
    assert attempt_amount(AttemptTokens(3, 4), None) == Amount(0, 7)


def test_h3_f1_passages_that_the_router_did_not_count_are_added() -> None:
    request = work(hold_id="a.c.r", hold_tokens=29 + 20, hold_picousd=29 * 2 + 20 * 10)
    tokens = attempt_tokens(request, output_tokens=20, added_tokens=100)
    assert tokens == AttemptTokens(input_tokens=29 + 141, output_tokens=20)
    held = Amount(request.hold_picousd, request.hold_tokens)
    assert needed_hold(held, NOTHING, attempt_amount(tokens, PRICES)) == Amount(170 * 2 + 200, 190)
