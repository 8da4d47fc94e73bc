"""D10: what the command says of the next try, by error code."""

from __future__ import annotations

from typing import get_args

import pytest

from penstock.cli.render.retry_advice import retry_advice
from penstock.contract.errors import ERRORS, ErrorCode, RetryAdvice
from penstock.contract.reply import FailedAttempt

SAME = "The same request will fail again."


def attempt(kind: str) -> FailedAttempt:
    return FailedAttempt(model="m", provider="p", kind=kind)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (
            "oversized",
            "The answer was too large: a smaller max_tokens, fewer choices, or another prompt may succeed.",
        ),
        (
            "random_refusal",
            "The model wrote an answer that cannot be used: another prompt or model (--model) may succeed.",
        ),
        ("unclear", "The provider does not say why: another model may answer, --model."),
        ("refused", SAME),
    ],
)
def test_d10_a_refusal_is_explained_by_its_last_attempt(kind: str, advice: str) -> None:
    assert retry_advice("provider_refused", "never", None, [attempt("stalled"), attempt(kind)]) == advice


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_request", SAME),
        ("unknown_role", SAME),
        ("request_too_large", f"{SAME} A shorter one, or one with a smaller max_tokens, may succeed."),
        ("budget_exceeded", f"{SAME} A shorter one, or one with a smaller max_tokens, may succeed."),
        ("rate_limited", f"{SAME} A shorter one, or one with a smaller max_tokens, may succeed."),
        ("budget_unavailable", "Set the price of the model first: `penstock prices set`."),
        ("content_filtered", "Change the text: the filter of the provider rejects it."),
        ("kind_not_served", "Start the service that answers such requests: `penstock run --help`."),
        ("unknown_collection", "Add documents to it first: `penstock index`."),
        (
            "undeliverable",
            "Find out why before you send it again: `penstock dead list`, `penstock dead redrive`.",
        ),
    ],
)
def test_d10_an_error_that_stays_says_what_to_change(code: ErrorCode, advice: str) -> None:
    assert retry_advice(code, "never", None) == advice


def test_d10_an_error_that_passes_is_told_by_its_time_whatever_its_code() -> None:
    codes: list[ErrorCode] = ["budget_exceeded", "rate_limited", "budget_unavailable"]
    assert {retry_advice(code, "later", 60.0) for code in codes} == {"Try again in 60 s at the earliest."}


def test_d10_only_an_error_that_is_never_to_be_tried_again_says_that_it_will_fail_again() -> None:
    retries: list[RetryAdvice] = ["later", "elsewhere"]
    said = {retry_advice(code, retry, None) for code in get_args(ErrorCode) for retry in retries}
    assert not any(SAME in text for text in said)
    assert set(get_args(ErrorCode)) == set(ERRORS)
