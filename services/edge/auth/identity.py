"""Who sends a request, and what it may name."""

from __future__ import annotations

from msgspec import Struct

from services.edge.listing.target import Target

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
    """Roles that a request may name, `auto` among them."""
    models: tuple[str, ...] = ()
    """Models that a request may name. Without roles and models it may name everything."""
    rescue: str = "error"
    """The header `x-penstock-rescue` of requests that have none."""

    def allows(self, target: Target) -> bool:
        if not self.roles and not self.models:
            return True
        return target.model in self.models if target.model else target.role in self.roles
