"""How a request ends without a report."""

from __future__ import annotations

from penstock.contract.errors import ErrorCode

__all__ = ["GaveUp", "cancelled"]


class GaveUp(Exception):
    """The request fails with this code."""

    def __init__(self, code: ErrorCode, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.retry_after_s = retry_after_s


def cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled; documents that were indexed by then stay")
