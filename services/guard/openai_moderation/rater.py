"""Asks a moderation endpoint through the openai SDK, without its retries: the breaker and the limits decide."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import httpx2
from openai import APIStatusError, AsyncOpenAI, DefaultAioHttpClient, OpenAIError

from penstock.contract.guard.policies import DetectorName
from penstock.runtime.config.guard import OpenAIModeration
from penstock.runtime.outbound.retry_after import plausible_wait_s, retry_after_s
from services.guard.openai_moderation.answer import error_message, read_ratings
from services.guard.remote.rater import CallFailed, Piece, Rating

__all__ = ["ModerationRater"]

_PIECE_CHARACTERS: Final = 10_000
"""The models read 4,096 tokens at a time and leave out text above 32,768 tokens; Russian and Turkish have two to three
characters a token."""
_CALL_PIECES: Final = 8
_CONNECT_S: Final = 3.0
_QUOTA: Final = 429
_OF_THE_REQUEST: Final = frozenset({400, 413, 422})
_MOST_ANSWER_BYTES: Final = 1_000_000


class ModerationRater:
    name: DetectorName = "openai_moderation"
    piece_characters = _PIECE_CHARACTERS
    call_pieces = _CALL_PIECES

    def __init__(self, config: OpenAIModeration, key: str) -> None:
        self._model = config.model
        timeout = httpx2.Timeout(config.timeout_s, connect=_CONNECT_S)
        self._client = AsyncOpenAI(
            api_key=key,
            base_url=config.base_url,
            max_retries=0,
            timeout=timeout,
            # Texts must not be sent to any endpoint but the configured one.
            http_client=DefaultAioHttpClient(timeout=timeout, follow_redirects=False),
        )

    def set_key(self, key: str) -> None:
        self._client.api_key = key

    async def rate(self, pieces: Sequence[Piece]) -> Sequence[Rating]:
        try:
            answer = await self._client.moderations.with_raw_response.create(
                model=self._model, input=[piece.text for piece in pieces]
            )
        except (OpenAIError, httpx2.HTTPError) as error:
            raise _failure(error) from error
        body = answer.content
        if len(body) > _MOST_ANSWER_BYTES:
            raise CallFailed("outage", "the answer of the moderation endpoint is too large")
        return read_ratings(body, len(pieces))

    async def close(self) -> None:
        await self._client.close()


def _failure(error: Exception) -> CallFailed:
    """In words without content: the message of an endpoint may quote the text."""
    if not isinstance(error, APIStatusError):
        return CallFailed("outage", f"the moderation endpoint: {type(error).__name__}")
    status, response = error.status_code, error.response
    why = f"the moderation endpoint: HTTP {status}"
    if status != _QUOTA:
        return CallFailed("request" if status in _OF_THE_REQUEST else "outage", why)
    headers: dict[str, Any] = dict(response.headers)
    wait_s = retry_after_s(headers, (), error_message(response.content), time.time())
    return CallFailed("quota", why, plausible_wait_s(wait_s))
