"""How old a message is by the clock that stamped it, which is the server's and never ours (docs/decisions/0005)."""

from __future__ import annotations

__all__ = ["ServerClock"]


class ServerClock:
    """The latest that the server's clock can show, from what it said and how long ago it was asked.

    Ours only counts how much time has passed, so it may show any other hour. An age is never told too low as long as
    the server's clock does not jump ahead; of a jump, or of another leader's clock that is ahead, the next stamp
    tells.
    """

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def told(self, server_ns: int, asked_ns: int) -> None:
        """It showed `server_ns` at `asked_ns` of ours, or later."""
        self._ahead_ns = server_ns - asked_ns

    def age_ns(self, stored_ns: int, now_ns: int) -> int | None:
        """The most that can have passed since the server stamped `stored_ns`; None: it was never asked."""
        if self._ahead_ns is None:
            return None
        self._ahead_ns = max(self._ahead_ns, stored_ns - now_ns)
        return now_ns + self._ahead_ns - stored_ns
