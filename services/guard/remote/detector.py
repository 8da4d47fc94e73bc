"""A detector that has texts rated by another service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import NO_QUOTA, TOO_MUCH_TEXT, Detection, DetectorUnavailable
from services.guard.detectors.remembered import Remembered
from services.guard.remote.call_limits import CallLimits
from services.guard.remote.pieces import pieces_of
from services.guard.remote.rater import CallFailed, Piece, Rater, Rating

__all__ = ["RemoteDetector"]

_MOST_CALLS: Final = 32
"""Calls for one check, at most; a check with more text is not rated."""


class RemoteDetector:
    """Remembers ratings by piece, unlike a RememberingDetector: pieces of several texts are rated with one call, and
    those of a failed check that were rated need not be rated again.
    """

    def __init__(self, rater: Rater, limits: CallLimits, remembered: Remembered[Rating]) -> None:
        self._rater = rater
        self._limits = limits
        self._remembered = remembered

    @property
    def name(self) -> DetectorName:
        return self._rater.name

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        placed = list(pieces_of(texts, self._rater.piece_characters))
        ratings = {
            piece: rating
            for _, piece in placed
            if (rating := self._remembered.get(piece.text, _side(piece))) is not None
        }
        unknown = list(dict.fromkeys(piece for _, piece in placed if piece not in ratings))
        size = self._rater.call_pieces
        calls = [unknown[at : at + size] for at in range(0, len(unknown), size)]
        failures: list[str] = []
        if len(calls) > _MOST_CALLS:
            failures = [TOO_MUCH_TEXT]
        else:
            for rated in await asyncio.gather(*map(self._call, calls)):
                if isinstance(rated, str):
                    failures.append(rated)
                else:
                    ratings |= rated
        found = self._detection(placed, ratings)
        if failures:
            raise DetectorUnavailable(failures[0], found)
        return found

    async def _call(self, pieces: Sequence[Piece]) -> Mapping[Piece, Rating] | str:
        """The ratings, or why there are none."""
        try:
            async with self._limits.call():
                rated = await self._rater.rate(pieces)
        except DetectorUnavailable as unavailable:
            return str(unavailable)
        except CallFailed as failed:
            return NO_QUOTA if failed.kind == "quota" else str(failed)
        for piece, rating in zip(pieces, rated, strict=True):
            self._remembered.put(piece.text, _side(piece), rating)
        return dict(zip(pieces, rated, strict=True))

    def _detection(self, placed: Iterable[tuple[int, Piece]], ratings: Mapping[Piece, Rating]) -> Detection:
        """One finding for each text and category."""
        scores: dict[str, float] = {}
        flagged: dict[tuple[int, str], float] = {}
        for index, piece in placed:
            rating = ratings.get(piece, _UNRATED)
            for category, score in rating.scores.items():
                scores[category] = max(score, scores.get(category, 0.0))
            for category, score in rating.flagged.items():
                flagged[index, category] = max(score, flagged.get((index, category), 0.0))
        findings = (
            Finding(text=index, category=category, detector=self.name, score=score)
            for (index, category), score in flagged.items()
        )
        return Detection(tuple(findings), scores)


def _side(piece: Piece) -> str:
    return "model" if piece.by_model else "user"


_UNRATED: Final = Rating()
