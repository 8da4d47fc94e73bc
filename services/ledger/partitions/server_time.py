"""The time of the ledger: the clock of the JetStream server, which all ledger processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.bus.clock import elapsed_ns

__all__ = ["PartitionTime", "ServerTime"]

_NS_PER_MS: Final = 1_000_000


class ServerTime:
    """Unix time by the last reading of the server's clock and the time elapsed since, so that a step of this machine's
    clock changes nothing.
    """

    def __init__(self, now_ns: Callable[[], int] = elapsed_ns) -> None:
        """`now_ns` measures elapsed time from any origin."""
        self.now_ns = now_ns
        self._ahead_ns: int | None = None

    @property
    def known(self) -> bool:
        return self._ahead_ns is not None

    def observe(self, server_ns: int, asked_ns: int) -> None:
        """The server's clock showed `server_ns` just after `asked_ns` of this machine's elapsed time."""
        self._ahead_ns = server_ns - asked_ns

    def unix_ms(self) -> int:
        """Raises RuntimeError before the first reading."""
        if self._ahead_ns is None:
            raise RuntimeError("the server's clock was not read yet")
        return (self.now_ns() + self._ahead_ns) // _NS_PER_MS


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
