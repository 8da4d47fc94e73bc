"""Asks the guard model: a request to its role, as any application would send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.client.client import Client
from penstock.contract.errors import ErrorCode
from penstock.contract.guard.checks import TIMEOUT
from penstock.contract.guard.policies import DetectorName
from penstock.errors import PenstockError
from penstock.runtime.config.guard import SafetyModel
from services.guard.remote.rater import CallFailed, FailureKind, Piece, Rating
from services.guard.safety_model.answer_format import AnswerFormat
from services.guard.safety_model.gpt_oss_safeguard import GPT_OSS_SAFEGUARD
from services.guard.safety_model.llama_guard import LLAMA_GUARD

__all__ = ["SafetyModelRater"]

_FORMATS: Final[dict[str, AnswerFormat]] = {
    "llama_guard": LLAMA_GUARD,
    "gpt_oss_safeguard": GPT_OSS_SAFEGUARD,
}
_PIECE_CHARACTERS: Final = 12_000
"""Of about 3,000 to 6,000 tokens: guard models are served with 8,000 tokens of context, and miss more in long ones."""
_SHARE_OF_TIME: Final = 0.9
"""Of the time of the detector, for the request: its end says more than that of the detector."""
_NO_QUOTA: Final[frozenset[ErrorCode]] = frozenset(
    {"rate_limited", "overloaded", "budget_exceeded", "budget_unavailable"}
)
_OF_THE_REQUEST: Final[frozenset[ErrorCode]] = frozenset(
    {
        "invalid_request",
        "request_too_large",
        "context_length_exceeded",
        "content_filtered",
        "blocked",
        "cancelled",
    }
)


class SafetyModelRater:
    name: DetectorName = "safety_model"
    piece_characters = _PIECE_CHARACTERS
    call_pieces = 1

    def __init__(self, client: Client, config: SafetyModel) -> None:
        self._client = client
        self._config = config
        self._format = _FORMATS[config.format]

    async def rate(self, pieces: Sequence[Piece]) -> Sequence[Rating]:
        return [await self._rate(piece) for piece in pieces]

    async def _rate(self, piece: Piece) -> Rating:
        try:
            reply = await self._client.chat(
                self._format.messages(piece, self._config.policy),
                role=self._config.role,
                timeout_s=self._config.timeout_s * _SHARE_OF_TIME,
                degrade=False,
                **self._format.parameters,
            )
        except PenstockError as error:
            # The message of a provider may quote the request.
            why = TIMEOUT if error.code == "deadline_exceeded" else f"the safety model: {error.code}"
            raise CallFailed(_kind(error.code), why, error.retry_after_s) from error
        return self._format.read(reply.text)


def _kind(code: ErrorCode) -> FailureKind:
    if code in _NO_QUOTA:
        return "quota"
    return "request" if code in _OF_THE_REQUEST else "outage"
