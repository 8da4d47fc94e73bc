"""The share of each limit that batch requests leave free, and when they need not (C6)."""

from __future__ import annotations

from math import ceil

from penstock.runtime.config.catalogue import Batch

__all__ = ["BatchReserve", "reserved"]

_ROUNDING = 1e-9


class BatchReserve:
    """Reserve of one (credential, model) against its batch lane. Instants are monotonic seconds.

    When no batch request was admitted for `starvation_timeout_s`, the next one is treated like an interactive one, so
    that neither lane starves.
    """

    __slots__ = ("_batch", "_since_s")

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._since_s: float | None = None

    def reserve(self, now_s: float) -> float:
        """The share that a batch request has to leave free now."""
        return 0.0 if now_s >= self.due_at_s(now_s) else self._batch.reserve_share

    def due_at_s(self, now_s: float) -> float:
        """When the next batch request may ignore the reserve. The timeout begins with the first request, and again
        with each admitted one: after an idle time the next request need not wait.
        """
        if self._since_s is None:
            self._since_s = now_s
        return self._since_s + self._batch.starvation_timeout_s

    def record_start(self, now_s: float) -> None:
        """A batch request was admitted."""
        self._since_s = now_s


def reserved(limit: int, reserve: float) -> int:
    """How much of `limit` has to stay free: the share, rounded up."""
    return ceil(limit * reserve - _ROUNDING) if reserve else 0
