"""Ratings of pieces that were rated before: the earlier turns of a conversation come with each of its requests."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from services.guard.remote.rater import Piece, Rating

__all__ = ["RememberedRatings"]

_MOST: Final = 4_096
"""Ratings, of about 2 KB each."""
_FRESH_S: Final = 600.0
_DIGEST_BYTES: Final = 16


class RememberedRatings:
    """Knows digests only, with a key of this process: no text can be read or confirmed from it."""

    def __init__(self, now_s: Callable[[], float], most: int = _MOST) -> None:
        self._now_s = now_s
        self._most = most
        self._key = secrets.token_bytes(_DIGEST_BYTES)
        self._ratings: OrderedDict[bytes, tuple[Rating, float]] = OrderedDict()

    def get(self, piece: Piece) -> Rating | None:
        digest = self._digest(piece)
        rating, until_s = self._ratings.get(digest, (None, 0.0))
        if rating is None or self._now_s() >= until_s:
            return None
        self._ratings.move_to_end(digest)
        return rating

    def put(self, piece: Piece, rating: Rating) -> None:
        digest = self._digest(piece)
        self._ratings[digest] = rating, self._now_s() + _FRESH_S
        self._ratings.move_to_end(digest)
        if len(self._ratings) > self._most:
            self._ratings.popitem(last=False)

    def _digest(self, piece: Piece) -> bytes:
        side = b"m" if piece.by_model else b"u"
        text = piece.text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(side + text, digest_size=_DIGEST_BYTES, key=self._key).digest()
