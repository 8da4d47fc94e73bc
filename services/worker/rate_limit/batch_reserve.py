"""What the batch lane leaves to the interactive one, and when it need not: neither lane starves (REQUIREMENTS C6)."""

from __future__ import annotations

from math import ceil

from penstock.runtime.config.catalogue import Batch

__all__ = ["BatchReserve", "reserved"]

_ROUNDING = 1e-9


class BatchReserve:
    """Of one (credential, model): whether a batch request has to leave the reserve untouched.

    It need not when none was let through for `patience_s`; then one goes as if it were interactive. Instants are
    monotonic seconds.
    """

    __slots__ = ("_batch", "_since_s")

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._since_s: float | None = None

    def reserve(self, now_s: float) -> float:
        """The share that has to stay free."""
        return 0.0 if now_s >= self.due_at_s(now_s) else self._batch.reserve

    def due_at_s(self, now_s: float) -> float:
        """From when on one may go all the same. Patience begins when the first one asks, and anew whenever one
        record_start: after a quiet while the next need not wait.
        """
        if self._since_s is None:
            self._since_s = now_s
        return self._since_s + self._batch.patience_s

    def record_start(self, now_s: float) -> None:
        self._since_s = now_s


def reserved(limit: int, reserve: float) -> int:
    """How much of `limit` has to stay free: never less than the share."""
    return ceil(limit * reserve - _ROUNDING) if reserve else 0
