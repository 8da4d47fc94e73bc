"""How a request ends without a report."""

from __future__ import annotations

from penstock.runtime.request_refused import RequestRefused

__all__ = ["GaveUp", "cancelled"]


class GaveUp(RequestRefused):
    """The request fails with this code."""


def cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled; documents that were indexed by then stay")
