"""The roles that chat: the others have nobody to serve them yet."""

from __future__ import annotations

from typing import Final

from penstock.contract.names import ROLES, Role

__all__ = ["CHATTING", "NOT_CHATTING"]

NOT_CHATTING: Final[frozenset[Role]] = frozenset({"embed"})
CHATTING: Final = tuple(role for role in ROLES if role not in NOT_CHATTING)
