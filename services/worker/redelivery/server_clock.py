"""The age of a message by the server's clock, which stamped it (docs/decisions/0005)."""

from __future__ import annotations

__all__ = ["ServerClock"]


class ServerClock:
    """The latest time that the server's clock can show, computed from its last reading and the time elapsed since then.

    Only elapsed time is taken from this machine's clock, which may show any other hour. An age is never too low as long
    as the server's clock does not jump ahead; a jump, or a new leader whose clock is ahead, shows in the next stamp.
    """

    def __init__(self) -> None:
        self._ahead_ns: int | None = None

    def observe(self, server_ns: int, asked_ns: int) -> None:
        """The server's clock showed `server_ns` at `asked_ns` of this machine's, or later."""
        self._ahead_ns = server_ns - asked_ns

    def age_ns(self, stored_ns: int, now_ns: int) -> int | None:
        """The longest time that can have passed since the stamp `stored_ns`; None before the first reading."""
        if self._ahead_ns is None:
            return None
        self._ahead_ns = max(self._ahead_ns, stored_ns - now_ns)
        return now_ns + self._ahead_ns - stored_ns
