"""The token usage that a provider reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct, structs

from penstock.contract.reply import Usage
from services.worker.providers.json_repair import repair_json

__all__ = ["NO_COUNTS", "TokenCounts", "read_usage"]

_MAX_TOKENS: Final = 100_000_000
"""Ten times the longest context of any model: a larger count is rejected."""
_MAX_CONTEXTS: Final = 10
"""The largest believable count, in contexts of the model: the catalogue may understate a context, but not by more."""
_DIGITS: Final = 12
"""Length limit of a text that is read as a number."""

# Names in OpenAI's chat completions first; then OpenAI's responses and Anthropic's messages; then Gemini's.
_INPUT: Final = ("prompt_tokens", "input_tokens", "promptTokenCount")
_OUTPUT: Final = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_TOTAL: Final = ("total_tokens", "totalTokenCount")
_INPUT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")
_CACHED: Final = ("cached_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount")
"""Tokens that are part of the input. `prompt_cache_hit_tokens`: DeepSeek's API reference, "Context caching"."""
_CACHE_READ: Final = "cache_read_input_tokens"
"""Tokens that are not part of `input_tokens`, like those written into the cache (Anthropic, "Prompt caching")."""
_CACHE_WRITTEN: Final = "cache_creation_input_tokens"
_WRITTEN: Final = "cache_write_tokens"
"""Part of the input (OpenRouter, "Usage accounting")."""
_AUDIO: Final = "audio_tokens"
_CACHE_MISSED: Final = "prompt_cache_miss_tokens"
_REASONING: Final = ("reasoning_tokens", "thoughtsTokenCount")


class TokenCounts(Struct, frozen=True, gc=False):
    """The counts that a provider reported; None for a count that is missing or impossible."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None
    total_only_tokens: int | None = None
    """The part of the output that only the total includes."""
    cache_write_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None

    def without_implausible(self, context_tokens: int) -> tuple[TokenCounts, bool]:
        """The counts that a model with this context can have used, and whether any was removed.

        Tokens that only the total includes are reasoning, which is part of the context. If they exceed the context,
        the output is the stated count.
        """
        counts = self
        limit = context_tokens * _MAX_CONTEXTS
        if (self.total_only_tokens or 0) > context_tokens:
            stated = (self.output_tokens or 0) - (self.total_only_tokens or 0)
            counts = structs.replace(
                counts,
                output_tokens=stated or None,
                reasoning_tokens=None,
                total_tokens=None,
                total_only_tokens=None,
            )
        for name in ("output_tokens", "input_tokens", "total_tokens"):
            if (getattr(counts, name) or 0) > limit:
                counts = structs.replace(counts, **{name: None, "total_tokens": None})
        return counts, counts is not self

    def merged_with(self, earlier: TokenCounts | None) -> TokenCounts:
        """These counts; if input or output is missing, each missing count is taken from an earlier chunk."""
        if earlier is None or (self.input_tokens is not None and self.output_tokens is not None):
            return self
        return TokenCounts(
            *(
                old if new is None else new
                for new, old in zip(structs.astuple(self), structs.astuple(earlier), strict=True)
            )
        )

    def with_estimates(self, *, input_tokens: int, output_tokens: int) -> tuple[Usage, bool]:
        """The usage with the given estimates for missing counts, and whether an estimate was needed.

        A count of 0 is missing too: for the input always, for the output if the estimate is above 0.
        """
        prompt, completion = self.input_tokens or None, self.output_tokens or None
        if completion is None and output_tokens == 0:
            completion = self.output_tokens
        estimated = prompt is None or completion is None
        if estimated and self.total_tokens is not None:
            prompt, completion = _split(self.total_tokens, prompt, completion, input_tokens)
        prompt = input_tokens if prompt is None else prompt
        completion = output_tokens if completion is None else completion
        cached = min(self.cached_input_tokens or 0, prompt)
        reasoning = min(self.reasoning_tokens or 0, completion)
        usage = Usage(
            input_tokens=prompt,
            output_tokens=completion,
            cached_input_tokens=cached,
            reasoning_tokens=reasoning,
            cache_write_tokens=min(self.cache_write_tokens or 0, prompt - cached),
            audio_input_tokens=min(self.audio_input_tokens or 0, prompt),
            audio_output_tokens=min(self.audio_output_tokens or 0, completion),
        )
        return usage, estimated


NO_COUNTS: Final = TokenCounts()

_Tokens = Annotated[int, Meta(ge=0, le=_MAX_TOKENS)] | None


class _InputDetails(Struct, frozen=True, gc=False):
    cached_tokens: _Tokens = None
    cache_write_tokens: _Tokens = None
    audio_tokens: _Tokens = None


class _OutputDetails(Struct, frozen=True, gc=False):
    reasoning_tokens: _Tokens = None
    audio_tokens: _Tokens = None


_NO_INPUT_DETAILS: Final = _InputDetails()
_NO_OUTPUT_DETAILS: Final = _OutputDetails()


class _OpenAiUsage(Struct, frozen=True, gc=False):
    """`usage` in OpenAI's format. Some providers send it with every chunk."""

    prompt_tokens: Annotated[int, Meta(ge=1, le=_MAX_TOKENS)]
    completion_tokens: Annotated[int, Meta(ge=0, le=_MAX_TOKENS)]
    total_tokens: _Tokens = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    # Other names that change the counts: usage with any of them is read by `_read_any`.
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None
    prompt_cache_hit_tokens: None = None
    reasoning_tokens: None = None


_decode_openai: Final = msgspec.json.Decoder(_OpenAiUsage).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def read_usage(raw: Raw | bytes) -> TokenCounts | None:
    """The counts, field by field; None if there is no possible count. An answer with invalid usage is still valid."""
    try:
        usage = _decode_openai(raw)
    except (ValueError, RecursionError):
        return _read_any(raw)
    of_input = usage.prompt_tokens_details or _NO_INPUT_DETAILS
    of_output = usage.completion_tokens_details or _NO_OUTPUT_DETAILS
    parts = _Parts(
        of_input.cached_tokens, of_input.cache_write_tokens, of_input.audio_tokens, of_output.audio_tokens
    )
    return _counts(
        usage.prompt_tokens, usage.completion_tokens, parts, of_output.reasoning_tokens, usage.total_tokens
    )


def _read_any(raw: Raw | bytes) -> TokenCounts | None:
    try:
        usage = _decode(raw)
    except msgspec.ValidationError:
        return None
    except (ValueError, RecursionError):
        usage = _read_repaired(raw)
    prompt, parts = _input(usage)
    counts = _counts(prompt, _first(usage, _OUTPUT), parts, _reasoning(usage), _first(usage, _TOTAL))
    is_empty = counts.input_tokens is None and counts.output_tokens is None and counts.total_tokens is None
    return None if is_empty else counts


class _Parts(NamedTuple):
    """Kinds of tokens that are part of the input or the output."""

    cached: int | None
    written: int | None
    audio_input: int | None
    audio_output: int | None


def _counts(
    prompt: int | None, completion: int | None, parts: _Parts, reasoning: int | None, total: int | None
) -> TokenCounts:
    """The counts; output that the provider counts outside of `completion` is added to it."""
    total_only: int | None = None
    if total is None:
        # Reasoning that exceeds the output cannot be part of it.
        if completion is not None and reasoning is not None and reasoning > completion:
            completion, total_only = completion + reasoning, reasoning
    elif prompt is not None:
        listed = prompt + (completion or 0)
        if total > listed:
            # Gemini and xAI count reasoning in the total only.
            reasoning = max(reasoning or 0, total - listed) if completion is not None else reasoning
            total_only = total - listed
            completion = (completion or 0) + total_only
    cached, written, audio_input, audio_output = parts
    return TokenCounts(
        prompt, completion, cached, reasoning, total, total_only, written, audio_input, audio_output
    )


def _input(usage: Mapping[str, Any]) -> tuple[int | None, _Parts]:
    """The whole input, and the kinds of tokens in it and in the output."""
    total = _first(usage, _INPUT)
    read, written = _count(usage.get(_CACHE_READ)), _count(usage.get(_CACHE_WRITTEN))
    if read is not None or written is not None:
        separate = "prompt_tokens" not in usage or (read or 0) > (total or 0)
        if separate and total is not None:
            total += (read or 0) + (written or 0)
    details = _details(usage, _INPUT_DETAILS)
    cached = _first(details, _CACHED)
    cached = _first(usage, _CACHED) if cached is None else cached
    cached = read if cached is None else cached
    missed = _count(usage.get(_CACHE_MISSED))
    if total is None and missed is not None:
        total = missed + (cached or 0)
    written = _count(details.get(_WRITTEN)) if written is None else written
    audio_output = _count(_details(usage, _OUTPUT_DETAILS).get(_AUDIO))
    return total, _Parts(cached, written, _count(details.get(_AUDIO)), audio_output)


def _reasoning(usage: Mapping[str, Any]) -> int | None:
    stated = _first(_details(usage, _OUTPUT_DETAILS), _REASONING)
    return _first(usage, _REASONING) if stated is None else stated


def _split(
    total: int, prompt: int | None, completion: int | None, estimated_input: int
) -> tuple[int | None, int | None]:
    """`total` as input and output, of which at least one is unknown."""
    if prompt is None:
        prompt = min(estimated_input, total) if completion is None else total - completion
    if completion is None:
        completion = total - prompt
    return (prompt if prompt > 0 else None), (completion if completion > 0 else None)


def _details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    return next((details for name in names if isinstance(details := usage.get(name), dict)), {})


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first count above 0; else 0 if any is given."""
    counts = [count for name in names if name in usage and (count := _count(usage[name])) is not None]
    return max(counts[:1], default=None) if not any(counts) else next(filter(None, counts))


def _count(value: Any) -> int | None:
    """A number of tokens, given as a number or text; None for a value that cannot be one."""
    if isinstance(value, str) and len(value) <= _DIGITS:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _MAX_TOKENS else None


def _read_repaired(raw: Raw | bytes) -> dict[str, Any]:
    try:
        return _decode(repair_json(bytes(raw)))
    except (ValueError, RecursionError):
        return {}
