"""What an answer used, and what that costs."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.config.catalogue import Price
from schemas.reply import Usage

__all__ = ["NO_USAGE", "cost_microusd", "read_usage"]

_TOKENS_PER_PRICE: Final = 1_000_000

_MOST_TOKENS: Final = 100_000_000
"""Ten times the longest context of any model."""
_Count = Annotated[int, Meta(ge=0, le=_MOST_TOKENS)] | None
NO_USAGE: Final = Raw(b"null")


class _PromptDetails(Struct, frozen=True, gc=False):
    cached_tokens: _Count = None


class _CompletionDetails(Struct, frozen=True, gc=False):
    reasoning_tokens: _Count = None


class _WireUsage(Struct, frozen=True, gc=False):
    """`usage` of OpenAI's chat completions; any part of it may be null or missing."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_decode: Final = msgspec.json.Decoder(_WireUsage).decode


def read_usage(raw: Raw) -> Usage | None:
    """In our own terms; None where nothing is said, or nothing that can be true: an answer is no worse for it."""
    try:
        usage = _decode(raw)
    except (ValueError, RecursionError):
        return None
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_input_tokens=(prompt.cached_tokens or 0) if prompt else 0,
        reasoning_tokens=(completion.reasoning_tokens or 0) if completion else 0,
    )


def cost_microusd(usage: Usage, price: Price) -> int:
    """Micro-dollars, rounded once, half up (REQUIREMENTS F4).

    Cached input has its own price; more of it than there was input counts as all of the input.
    """
    cached_price = price.input if price.cached_input is None else price.cached_input
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    exact = (
        (usage.input_tokens - cached) * price.input
        + cached * cached_price
        + usage.output_tokens * price.output
    )
    return (exact + _TOKENS_PER_PRICE // 2) // _TOKENS_PER_PRICE
