"""What an answer used, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct, structs

from penstock.contract.reply import Usage
from penstock.runtime.config.catalogue import Price
from services.worker.providers.lenient_json import mended

__all__ = ["NO_COUNTS", "NO_USAGE", "TokenCounts", "cost_microusd", "read_usage"]

_TOKENS_PER_PRICE: Final = 1_000_000

_MOST_TOKENS: Final = 100_000_000
"""Ten times the longest context of any model."""
_BEYOND_CONTEXT: Final = 10
"""A count above this many times the model's context is none: the catalogue may understate a context, but not so far."""
_DIGITS: Final = 12
"""The longest text that is read as a number."""
NO_USAGE: Final = Raw(b"null")

# The names of OpenAI's chat completions first; then OpenAI's responses and Anthropic's messages; then Gemini's.
_INPUT: Final = ("prompt_tokens", "input_tokens", "promptTokenCount")
_OUTPUT: Final = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_TOTAL: Final = ("total_tokens", "totalTokenCount")
_INPUT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")
_CACHED: Final = ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount")
"""Part of the input. `prompt_cache_hit_tokens`: DeepSeek's API reference, "Context caching"."""
_CACHE_READ: Final = "cache_read_input_tokens"
"""Anthropic, "Prompt caching": not part of `input_tokens`, as little as what is written into the cache."""
_CACHE_WRITTEN: Final = "cache_creation_input_tokens"
_CACHE_MISSED: Final = "prompt_cache_miss_tokens"
_REASONING: Final = ("reasoning_tokens", "thoughtsTokenCount")


class TokenCounts(Struct, frozen=True, gc=False):
    """The counts that a provider gave, each None where it gave none that can be true."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    beside_tokens: int | None = None
    """The part of the output that stands in the total alone."""

    def plausible(self, context_tokens: int) -> tuple[TokenCounts, bool]:
        """Without what a model with such a context cannot have used; and whether there was any of it.

        What stands in the total alone is an answer's reasoning, which is part of the context: more than the context
        is not believed, and the output is what was stated as such.
        """
        believed = self
        most = context_tokens * _BEYOND_CONTEXT
        if (self.beside_tokens or 0) > context_tokens:
            stated = (self.output_tokens or 0) - (self.beside_tokens or 0)
            believed = structs.replace(
                believed,
                output_tokens=stated or None,
                reasoning_tokens=None,
                total_tokens=None,
                beside_tokens=None,
            )
        if (believed.output_tokens or 0) > most:
            believed = structs.replace(believed, output_tokens=None, total_tokens=None)
        if (believed.input_tokens or 0) > most:
            believed = structs.replace(believed, input_tokens=None, total_tokens=None)
        if (believed.total_tokens or 0) > most:
            believed = structs.replace(believed, total_tokens=None)
        return believed, believed is not self

    def after(self, earlier: TokenCounts | None) -> TokenCounts:
        """These counts; where they are silent on input or output, what an earlier chunk said."""
        if earlier is None or (self.input_tokens is not None and self.output_tokens is not None):
            return self
        return TokenCounts(
            *(
                old if new is None else new
                for new, old in zip(structs.astuple(self), structs.astuple(earlier), strict=True)
            )
        )

    def completed(self, *, input_tokens: int, output_tokens: int) -> tuple[Usage, bool]:
        """With the given estimates for what is missing; and whether any was needed.

        A count of 0 is missing as well: of the input always, of the output where the estimate is above 0.
        """
        asked, answered = self.input_tokens or None, self.output_tokens or None
        if answered is None and output_tokens == 0:
            answered = self.output_tokens
        estimated = asked is None or answered is None
        if estimated and self.total_tokens is not None:
            asked, answered = _split(self.total_tokens, asked, answered, input_tokens)
        asked = input_tokens if asked is None else asked
        answered = output_tokens if answered is None else answered
        usage = Usage(
            input_tokens=asked,
            output_tokens=answered,
            cached_input_tokens=min(self.cached_input_tokens or 0, asked),
            reasoning_tokens=min(self.reasoning_tokens or 0, answered),
        )
        return usage, estimated


NO_COUNTS: Final = TokenCounts()

_Tokens = Annotated[int, Meta(ge=0, le=_MOST_TOKENS)] | None


class _InputDetails(Struct, frozen=True, gc=False):
    cached_tokens: _Tokens = None


class _OutputDetails(Struct, frozen=True, gc=False):
    reasoning_tokens: _Tokens = None


class _OpenAiUsage(Struct, frozen=True, gc=False):
    """`usage` as OpenAI documents it. Some providers put it on every chunk."""

    prompt_tokens: Annotated[int, Meta(ge=1, le=_MOST_TOKENS)]
    completion_tokens: Annotated[int, Meta(ge=0, le=_MOST_TOKENS)]
    total_tokens: _Tokens = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    # Other names that change what is read: with any of them it is read as any other usage.
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None
    prompt_cache_hit_tokens: None = None
    reasoning_tokens: None = None


_decode_openai: Final = msgspec.json.Decoder(_OpenAiUsage).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def read_usage(raw: Raw | bytes) -> TokenCounts | None:
    """Field by field; None where nothing is said, or nothing that can be true: an answer is no worse for it."""
    try:
        usage = _decode_openai(raw)
    except (ValueError, RecursionError):
        return _read_any(raw)
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
    return _counted(usage.prompt_tokens, usage.completion_tokens, cached, reasoning, usage.total_tokens)


def _read_any(raw: Raw | bytes) -> TokenCounts | None:
    try:
        said = _decode(raw)
    except msgspec.ValidationError:
        return None
    except (ValueError, RecursionError):
        said = _read_anyway(raw)
    asked, cached = _input(said)
    counts = _counted(asked, _first(said, _OUTPUT), cached, _reasoning(said), _first(said, _TOTAL))
    is_empty = counts.input_tokens is None and counts.output_tokens is None and counts.total_tokens is None
    return None if is_empty else counts


def _counted(
    asked: int | None, answered: int | None, cached: int | None, reasoning: int | None, total: int | None
) -> TokenCounts:
    """With the output that the provider counted beside `answered`."""
    beside: int | None = None
    if total is None:
        # What is more than the output cannot be part of it.
        if answered is not None and reasoning is not None and reasoning > answered:
            answered, beside = answered + reasoning, reasoning
    elif asked is not None:
        counted = asked + (answered or 0)
        if total > counted:
            # Reasoning that is not in the output: Gemini and xAI count it in the total alone.
            reasoning = max(reasoning or 0, total - counted) if answered is not None else reasoning
            beside = total - counted
            answered = (answered or 0) + beside
    return TokenCounts(asked, answered, cached, reasoning, total, beside)


def _input(said: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """All of the input, and the part of it that came from a cache."""
    asked = _first(said, _INPUT)
    read, written = _count(said.get(_CACHE_READ)), _count(said.get(_CACHE_WRITTEN))
    if read is not None or written is not None:
        apart = "prompt_tokens" not in said or (read or 0) > (asked or 0)
        if apart and asked is not None:
            asked += (read or 0) + (written or 0)
    cached = _first(_details(said, _INPUT_DETAILS), _CACHED)
    cached = _first(said, _CACHED) if cached is None else cached
    cached = read if cached is None else cached
    missed = _count(said.get(_CACHE_MISSED))
    if asked is None and missed is not None:
        asked = missed + (cached or 0)
    return asked, cached


def _reasoning(said: Mapping[str, Any]) -> int | None:
    stated = _first(_details(said, _OUTPUT_DETAILS), _REASONING)
    return _first(said, _REASONING) if stated is None else stated


def _split(
    total: int, asked: int | None, answered: int | None, estimate: int
) -> tuple[int | None, int | None]:
    """`total` as input and output, where one of them or both are unknown."""
    if asked is None:
        asked = min(estimate, total) if answered is None else total - answered
    if answered is None:
        answered = total - asked
    return (asked if asked > 0 else None), (answered if answered > 0 else None)


def _details(said: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    return next((details for name in names if isinstance(details := said.get(name), dict)), {})


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first that is above 0, else 0 if any says so."""
    counts = [count for name in names if name in said and (count := _count(said[name])) is not None]
    return max(counts[:1], default=None) if not any(counts) else next(filter(None, counts))


def _count(value: Any) -> int | None:
    """A number of tokens, whatever type it came as; None for what can be none."""
    if isinstance(value, str) and len(value) <= _DIGITS:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isfinite(value) and 0 <= value <= _MOST_TOKENS else None


def _read_anyway(raw: Raw | bytes) -> dict[str, Any]:
    try:
        return _decode(mended(bytes(raw)))
    except (ValueError, RecursionError):
        return {}


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
