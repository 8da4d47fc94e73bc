"""The base of exceptions that end a request, or a part of one, with an error code of the contract."""

from __future__ import annotations

from penstock.contract.errors import ErrorCode

__all__ = ["RequestRefused"]


class RequestRefused(Exception):
    """`code` and the message are what the application receives; `retry_after_s`: seconds after which it may retry."""

    def __init__(self, code: ErrorCode, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.retry_after_s = retry_after_s
