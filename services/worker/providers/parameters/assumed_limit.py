"""The output limit that is sent where neither the request nor its role has one: the number that its hold reserves."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.tokens import with_margin

__all__ = ["limit_of", "limited", "reported"]

_LEAST_TOKENS: Final = 256
"""Tokens that the limit leaves for an answer, although the context may be full: the input is estimated high, and the
provider decides."""
_PARAMETER: Final = "max_tokens"


def limit_of(assumed_output_tokens: int, input_tokens: int, context_tokens: int) -> int:
    """The limit for one model: providers refuse a limit for which there is no room in the context.

    `input_tokens`: estimated. The limit is never above `assumed_output_tokens`.
    """
    room = context_tokens - with_margin(input_tokens)
    return min(assumed_output_tokens, max(room, _LEAST_TOKENS))


def limited(role: RoleConfig, limit: int) -> RoleConfig:
    """A role without an output limit, with one."""
    return replace(role, parameters=replace(role.parameters, max_tokens=limit))


def reported(adapted: tuple[Adapted, ...], limit: int) -> tuple[Adapted, ...]:
    """The changes to a request, with the limit among them.

    The name under which the model accepts it is left out, because the request has no such parameter. A model that
    accepts no limit at all is still reported as such.
    """
    own = next((each for each in adapted if each.parameter == _PARAMETER), None)
    if own is not None and own.change != "renamed":
        return adapted
    why = "neither the request nor its role limits the output, and the budget reserves this many tokens for an answer"
    added = Adapted(parameter=_PARAMETER, change="replaced", sent=str(limit), why=why)
    return (added, *(each for each in adapted if each is not own))
