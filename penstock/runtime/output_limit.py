"""The most output tokens that a request may produce: what limits count before the answer is known."""

from __future__ import annotations

from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS

__all__ = ["output_tokens"]


def output_tokens(max_tokens: int | None, role: RoleConfig) -> int:
    """The output limit of the body that will be sent, never above the role's ceiling.

    `max_tokens`: that of the request. ASSUMED_OUTPUT_TOKENS where nothing sets a limit; such an answer can be longer.
    """
    limit = max_tokens or role.parameters.max_tokens or ASSUMED_OUTPUT_TOKENS
    ceiling = role.ceilings.max_tokens
    return limit if ceiling is None else min(limit, ceiling)
