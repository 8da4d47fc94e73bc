"""F1: holds with figures that no request can have are refused, and the answer says why."""

from __future__ import annotations

from typing import Any

import pytest

from services.ledger.budget.holds import MOST_PICOUSD, MOST_TOKENS
from services.ledger.partitions.asked import problem_of
from tests.harness.requests.budget_requests import hold_request

NOW_MS = 1_795_953_600_000


def problem(**fields: Any) -> str | None:
    return problem_of(hold_request(1, **({"deadline_ms": NOW_MS} | fields)), NOW_MS)


def test_f1_a_hold_up_to_the_largest_amounts_is_decided():
    assert problem(picousd=MOST_PICOUSD, tokens=MOST_TOKENS, output_tokens=MOST_TOKENS) is None


@pytest.mark.parametrize("picousd", [-1, MOST_PICOUSD + 1])
def test_f1_the_refusal_of_a_larger_hold_names_the_bound(picousd: int):
    assert problem(picousd=picousd) == "picousd must be from 0 to 100000000000000000 (100,000 USD)"


@pytest.mark.parametrize("field", ["tokens", "output_tokens"])
def test_f1_a_hold_for_more_tokens_than_any_request_has_is_refused(field: str):
    assert problem(**{field: MOST_TOKENS + 1}) == f"{field} must be from 0 to {MOST_TOKENS}"
