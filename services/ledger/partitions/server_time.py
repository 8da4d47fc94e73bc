"""The time of the ledger: the clock of the JetStream server, which all ledger processes share."""

from __future__ import annotations

from collections.abc import Callable

from penstock.bus.clock import elapsed_ns

__all__ = ["ServerTime"]


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
        return (self.now_ns() + self._ahead_ns) // 1_000_000
