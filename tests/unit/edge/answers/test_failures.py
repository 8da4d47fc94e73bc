"""D10: errors of the client and failures of requests as HTTP errors."""

from __future__ import annotations

import pytest

from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.reply import Failure
from penstock.errors import (
    BeyondTheEnd,
    NoReply,
    NotAccepted,
    ReplyIncomplete,
    RequestFailed,
    RequestTooLarge,
    StoreUnavailable,
    UnknownReply,
)
from services.edge.answers.failures import http_error_of, http_error_of_failure, stream_error_of
from services.edge.dialects.dialect import AnswerError, InvalidField
from services.edge.http.errors import HttpError, ShuttingDown


@pytest.mark.parametrize("code", ERRORS)
def test_d10_a_failure_has_the_status_of_its_code(code: ErrorCode):
    error = http_error_of_failure(Failure(code=code, message="why", retry=ERRORS[code].retry))
    assert (error.status, error.code, error.message) == (ERRORS[code].http_status, code, "why")
    assert (b"x-should-retry" in dict(error.headers)) == (ERRORS[code].retry != "later")


@pytest.mark.parametrize(("after_s", "header"), [(0.01, b"1"), (1.2, b"2"), (30, b"30"), (None, None)])
def test_c4_retry_after_is_in_whole_seconds_and_never_early(after_s: float | None, header: bytes | None):
    failure = Failure(code="overloaded", message="", retry="later", retry_after_s=after_s)
    assert dict(http_error_of_failure(failure).headers).get(b"retry-after") == header


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HttpError(418, "teapot", "no"), 418, "teapot"),
        (InvalidField("messages[0]", "write text"), 400, "invalid_request"),
        (ShuttingDown(), 503, "shutting_down"),
        (UnknownReply("1", "c"), 404, "not_found"),
        (BeyondTheEnd(5, 3), 400, "invalid_request"),
        (NotAccepted("the request was not accepted", "no answer."), 503, "bus_unavailable"),
        (StoreUnavailable("the reply", "no answer."), 503, "bus_unavailable"),
        (NoReply("late"), 504, "deadline_exceeded"),
        (RequestTooLarge(9, 8), 413, "request_too_large"),
        (ReplyIncomplete("lost"), 500, "internal"),
    ],
)
def test_d10_an_exception_has_a_status_and_a_code(error: Exception, status: int, code: str):
    found = http_error_of(error)
    assert found is not None
    assert (found.status, found.code) == (status, code)
    assert found.message


def test_d10_any_other_exception_is_a_fault_of_this_process():
    assert http_error_of(ValueError("internal detail")) is None


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ShuttingDown(), "shutting_down", "GET /v1/x/1 with the header last-event-id"),
        (NoReply("late"), "deadline_exceeded", "late"),
        (HttpError(409, "restarted", "read it again"), "restarted", "read it again"),
        (NotAccepted("The body was not stored", "no answer."), "bus_unavailable", "no answer"),
        (KeyError("detail"), "internal", ERRORS["internal"].meaning),
    ],
)
def test_d10_a_stream_ends_with_an_error_that_says_why(error: Exception, code: str, message: str):
    failure = stream_error_of(error, "/v1/x/1")
    assert failure.code == code
    assert message in failure.message


def test_d9_a_stream_that_cannot_be_resumed_is_to_be_sent_again():
    assert stream_error_of(ShuttingDown(), None).message.endswith("send the request again")


def test_g1_a_blocked_request_names_its_categories():
    failure = Failure(code="blocked", message="Sorry.", retry="never", categories=("hate", "secrets/jwt"))
    error = http_error_of_failure(failure)
    assert (error.status, error.code, error.categories) == (400, "blocked", failure.categories)
    assert dict(error.headers)[b"x-should-retry"] == b"false"
    assert AnswerError.of(failure).categories == failure.categories
    assert stream_error_of(RequestFailed("r", failure), None).status == 400


def test_g1_without_a_guard_a_request_is_repeated_later():
    failure = Failure(code="guard_unavailable", message="why", retry="later", retry_after_s=2)
    error = http_error_of_failure(failure)
    assert (error.status, dict(error.headers)[b"retry-after"]) == (503, b"2")
