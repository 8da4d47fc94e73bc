"""The time of one partition of the ledger."""

from __future__ import annotations

from typing import Final

from penstock.bus.clock import ServerTime

__all__ = ["PartitionTime"]

_NS_PER_MS: Final = 1_000_000


class PartitionTime:
    """The time of one partition, which never goes back. While it is ahead of the server's clock, because that was set
    back, it passes at nine tenths of the usual speed: periods are a little longer until the two agree again.
    """

    def __init__(self, server: ServerTime, last_ms: int) -> None:
        """`last_ms`: of the last entry of the journal."""
        self._server = server
        self._ns = last_ms * _NS_PER_MS
        self._read_ns = server.now_ns()

    def now_ms(self) -> int:
        """Unix milliseconds."""
        read_ns = self._server.now_ns()
        passed_ns = (read_ns - self._read_ns) * 9 // 10
        self._ns = max(self._server.unix_ms() * _NS_PER_MS, self._ns + passed_ns)
        self._read_ns = read_ns
        return self._ns // _NS_PER_MS
