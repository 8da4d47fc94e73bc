"""Who sends a request."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from services.edge.http.headers import Header

__all__ = ["Authenticator", "Identity", "OneAccount"]


class Identity(Struct, frozen=True, kw_only=True):
    """For whom a request counts."""

    account: str
    """A token of subjects."""
    user: str = ""
    """The end user; empty: the request may name one."""


class Authenticator(Protocol):
    def authenticate(self, headers: list[Header]) -> Identity:
        """Raises HttpError (401, 403)."""
        ...


class OneAccount:
    """Without keys: every request counts for one account, whatever key the client sends."""

    def __init__(self, account: str) -> None:
        self._identity = Identity(account=account)

    def authenticate(self, headers: list[Header]) -> Identity:  # noqa: ARG002 - the signature is Authenticator's
        return self._identity
