"""Log probabilities of tokens: invented, but always the same for a token, and in the order that the API promises."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

__all__ = ["logprobs_of"]

_ALTERNATIVES: Final = (" the", " a", ".", ",", " of", " and", " to", " in", " is", " it")


def logprobs_of(pieces: tuple[str, ...], top: int) -> dict[str, Any]:
    """The `logprobs` of a choice; `top`: the number of `top_logprobs` of each token, of which the first is itself."""
    return {"content": [_token(piece, top) for piece in pieces], "refusal": None}


def _token(piece: str, top: int) -> dict[str, Any]:
    chosen = _entry(piece, -(crc32(piece.encode()) % 900) / 1000)
    others = [each for each in _alternatives(top) if each != piece][: max(0, top - 1)]
    entries = [_entry(each, chosen["logprob"] - rank) for rank, each in enumerate(others, 1)]
    return {**chosen, "top_logprobs": [chosen, *entries] if top else []}


def _alternatives(count: int) -> list[str]:
    """`count` different tokens, or more."""
    return [*_ALTERNATIVES, *(f" {number}" for number in range(count))]


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
