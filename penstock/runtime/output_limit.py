"""The most output tokens that a request may produce: what limits count before the answer is known."""

from __future__ import annotations

from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS

__all__ = ["output_limit", "output_tokens"]


def output_limit(max_tokens: int | None, role: RoleConfig) -> int | None:
    """The output limit that the request and its role set together; None: the answer can have any length.

    `max_tokens`: that of the request.
    """
    limits = (max_tokens or role.parameters.max_tokens, role.ceilings.max_tokens)
    return min((limit for limit in limits if limit is not None), default=None)


def output_tokens(max_tokens: int | None, role: RoleConfig, assumed: int = ASSUMED_OUTPUT_TOKENS) -> int:
    """The output tokens that the limits of providers count before the answer is known, never above the role's ceiling.

    `max_tokens`: that of the request. `assumed`: where neither it nor the role has a default; such an answer can be
    longer, unless `assumed` is sent as its limit.
    """
    limit = max_tokens or role.parameters.max_tokens or assumed
    ceiling = role.ceilings.max_tokens
    return limit if ceiling is None else min(limit, ceiling)
