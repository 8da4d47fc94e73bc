"""D10: the status and the retry advice of an error follow from its code."""

from __future__ import annotations

from typing import get_args

import pytest

from penstock.contract.errors import ERRORS, ErrorCode
from services.edge.http.errors import EDGE_ERRORS, EdgeErrorCode, HttpError


def test_d10_every_code_of_the_edge_has_a_status_and_is_no_code_of_the_contract():
    assert set(EDGE_ERRORS) == set(get_args(EdgeErrorCode))
    assert not set(EDGE_ERRORS) & set(ERRORS)


@pytest.mark.parametrize("code", EDGE_ERRORS)
def test_d10_a_client_is_told_not_to_repeat_what_would_fail_again(code: EdgeErrorCode):
    spec, error = EDGE_ERRORS[code], HttpError.of(code, "why", param="p", headers=((b"allow", b"GET"),))
    assert (error.status, error.code, error.message, error.param) == (spec.status, code, "why", "p")
    assert (b"allow", b"GET") in error.headers
    assert ((b"x-should-retry", b"false") in error.headers) == (spec.retry == "never")


@pytest.mark.parametrize("code", ["restarted", "answer_gone"])
def test_d6_a_conflict_that_stays_is_not_repeated(code: EdgeErrorCode):
    """OpenAI's SDKs repeat every 409 otherwise."""
    assert HttpError.of(code, "why").status == 409
    assert HttpError.of(code, "why").headers == ((b"x-should-retry", b"false"),)


@pytest.mark.parametrize(
    ("code", "after_s", "header"),
    [("keys_unavailable", None, b"1"), ("keys_unavailable", 4.2, b"5"), ("request_timeout", None, None)],
)
def test_c4_an_error_may_say_better_than_its_code_when_to_retry(
    code: EdgeErrorCode, after_s: float | None, header: bytes | None
):
    error = HttpError.of(code, "why", retry_after_s=after_s)
    assert dict(error.headers).get(b"retry-after") == header


@pytest.mark.parametrize("code", ERRORS)
def test_d10_a_code_of_the_contract_keeps_its_status(code: ErrorCode):
    error = HttpError.of(code, "why")
    assert error.status == ERRORS[code].http_status
    assert ((b"x-should-retry", b"false") in error.headers) == (ERRORS[code].retry != "later")
