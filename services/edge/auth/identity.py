"""Who sends a request, and what it may name."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Identity"]


class Identity(Struct, frozen=True, kw_only=True):
    """For whom a request counts."""

    account: str
    """A token of subjects."""
    key: str = ""
    """The public prefix of the API key; empty: none is required."""
    user: str = ""
    """The end user; empty: the request may name one."""
    roles: tuple[str, ...] = ()
    """Roles that a request may name, `auto` among them; empty: all."""
    rescue: str = "error"
    """The header `x-penstock-rescue` of requests that have none."""

    def allows(self, role: str) -> bool:
        return not self.roles or role in self.roles
