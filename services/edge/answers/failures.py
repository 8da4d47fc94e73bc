"""Failures as HTTP errors."""

from __future__ import annotations

from typing import Final

from penstock.contract.errors import ERRORS
from penstock.contract.reply import Failure
from penstock.errors import NotAccepted, PenstockError, StoreUnavailable, UnknownReply
from services.edge.dialects.dialect import AnswerError, InvalidField
from services.edge.http.errors import HttpError, ShuttingDown, retry_headers

__all__ = ["http_error_of", "http_error_of_failure", "stream_error_of"]

_FIELDS: Final = {"role": "model", "unknown_role": "model", "unknown_collection": "rag"}
"""The field over HTTP, by that of the request event, or by the code of an error which names none."""
_STOPPING = "this gateway process stops before the answer is complete"


def http_error_of_failure(failure: Failure) -> HttpError:
    """The answer of a request that failed before anything of it was sent."""
    return HttpError(
        ERRORS[failure.code].http_status,
        failure.code,
        failure.message,
        param=_FIELDS.get(failure.param or failure.code, failure.param),
        headers=retry_headers(failure.retry, failure.retry_after_s),
        categories=failure.categories,
    )


def http_error_of(error: Exception) -> HttpError | None:
    """The answer of a request that ended with `error`; None: a fault of this process."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, InvalidField):
        return HttpError.of("invalid_request", error.message, param=error.field)
    if isinstance(error, ShuttingDown):
        message = f"{_STOPPING}: send the request again"
        return HttpError.of("shutting_down", message)
    return _of_client_error(error) if isinstance(error, PenstockError) else None


def _of_client_error(error: PenstockError) -> HttpError:
    if isinstance(error, UnknownReply):
        return HttpError.of("not_found", "no answer of this id is stored: answers are stored for 15 minutes")
    if isinstance(error, NotAccepted | StoreUnavailable) and error.code == "internal":
        return HttpError.of("bus_unavailable", str(error), retry_after_s=error.retry_after_s)
    headers = retry_headers(error.retry, error.retry_after_s)
    return HttpError(error.http_status, error.code, str(error), headers=headers)


def stream_error_of(error: Exception, resume_path: str | None) -> AnswerError:
    """The error with which a stream ends, of which a part was sent."""
    known = http_error_of(error) or HttpError.of("internal", ERRORS["internal"].meaning)
    message = known.message
    if isinstance(error, ShuttingDown) and resume_path is not None:
        message = f"{_STOPPING}: read the rest from GET {resume_path} with the header last-event-id"
    return AnswerError(known.code, message, known.status, known.categories)
