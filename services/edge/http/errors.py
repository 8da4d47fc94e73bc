"""Errors of the HTTP layer, before a dialect gives them its shape."""

from __future__ import annotations

import math

from penstock.contract.errors import RetryAdvice
from services.edge.http.headers import Header

__all__ = ["ClientDisconnected", "HttpError", "ShuttingDown", "retry_headers"]


class HttpError(Exception):
    """The request ends with this status; `code` and `param` are for the error object of the dialect."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers


class ClientDisconnected(Exception):
    """The client closed the connection, or reads too slowly; the request needs no answer."""


class ShuttingDown(Exception):
    """This process stops before the answer is complete."""


def retry_headers(retry: RetryAdvice, retry_after_s: float | None) -> tuple[Header, ...]:
    """`retry-after` in whole seconds, and `x-should-retry: false` where the same request will fail again.

    OpenAI's and Anthropic's SDKs obey both; without the second they repeat every 409, 429 and 5xx.
    """
    if retry != "later":
        return ((b"x-should-retry", b"false"),)
    if retry_after_s is None:
        return ()
    return ((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))),)
