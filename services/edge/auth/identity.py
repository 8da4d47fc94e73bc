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
    """Roles that a request may name."""
    models: tuple[str, ...] = ()
    """Models that a request may name; without roles and models it may name all of both."""

    def allows(self, name: str, *, is_role: bool) -> bool:
        if not self.roles and not self.models:
            return True
        return name in (self.roles if is_role else self.models)
