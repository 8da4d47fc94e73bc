"""Failures as HTTP errors."""

from __future__ import annotations

from penstock.contract.errors import ERRORS
from penstock.contract.reply import Failure
from penstock.errors import NotAccepted, PenstockError, StoreUnavailable, UnknownReply
from services.edge.dialects.dialect import InvalidField
from services.edge.http.errors import HttpError, ShuttingDown, retry_headers

__all__ = ["failure_of", "http_error_of", "http_error_of_failure"]

_STOPPING = "this gateway process stops before the answer is complete"


def http_error_of_failure(failure: Failure) -> HttpError:
    """The answer of a request that failed before anything of it was sent."""
    return HttpError(
        ERRORS[failure.code].http_status,
        failure.code,
        failure.message,
        param="model" if failure.code == "unknown_role" else None,
        headers=retry_headers(failure.retry, failure.retry_after_s),
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
    if isinstance(error, NotAccepted | StoreUnavailable):
        return HttpError.of("bus_unavailable", str(error), retry_after_s=error.retry_after_s)
    headers = retry_headers(error.retry, error.retry_after_s)
    return HttpError(error.http_status, error.code, str(error), headers=headers)


def failure_of(error: Exception, resume_path: str | None) -> Failure:
    """The failure with which a stream ends, of which a part was sent."""
    match error:
        case ShuttingDown():
            rest = f"read the rest from GET {resume_path} with the header last-event-id"
            message = f"{_STOPPING}: {'send the request again' if resume_path is None else rest}"
            return Failure(code="internal", message=message, retry="later", retry_after_s=1)
        case PenstockError():
            return Failure(
                code=error.code, message=str(error), retry=error.retry, retry_after_s=error.retry_after_s
            )
        case HttpError():
            return Failure(code="invalid_request", message=error.message, retry="never")
    return Failure(code="internal", message=ERRORS["internal"].meaning, retry="later")
