"""Reads the answers of a moderation endpoint (OpenAI's API reference, "Create moderation")."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from penstock.contract.guard.policies import HAZARD_CATEGORIES
from services.guard.remote.rater import UNNAMED, CallFailed, Rating

__all__ = ["error_message", "read_ratings"]


class _Result(Struct):
    """Legacy models leave `illicit` and others null (openai-python issue 1786), and lack categories."""

    categories: dict[str, bool | None]
    category_scores: dict[str, float | None] = {}
    flagged: bool = False


class _Answer(Struct):
    results: list[_Result]


class _Error(Struct):
    error: Any = None


def read_ratings(body: bytes, count: int) -> list[Rating]:
    """A rating for each of `count` inputs, in order; raises CallFailed for any other answer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CallFailed("outage", "the answer of the moderation endpoint cannot be read") from error
    if len(answer.results) != count:
        raise CallFailed("outage", f"the moderation endpoint rated {len(answer.results)} of {count} texts")
    return [_rating(result) for result in answer.results]


def _rating(result: _Result) -> Rating:
    scores: dict[str, float] = {
        name: min(1.0, max(0.0, result.category_scores.get(name) or 0.0))
        for name in HAZARD_CATEGORIES
        if name in result.categories
    }
    flagged = {name: scores[name] for name in scores if result.categories[name]}
    if result.flagged and not flagged:
        flagged = {UNNAMED: 1.0}  # a category of the endpoint's own
    return Rating(flagged, scores)


def error_message(body: bytes) -> str:
    """The message of an error, which may name a wait; empty without one."""
    try:
        error = msgspec.json.decode(body, type=_Error).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
