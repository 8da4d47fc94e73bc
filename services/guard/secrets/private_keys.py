r"""Private keys as PEM blocks, also with `\n` written out and without their last line."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place

__all__ = ["PRIVATE_KEYS"]

_RANK: Final = 50
"""Above everything that may be found inside of a block."""
_LONGEST_BYTES: Final = 14_000
"""Bytes of a block; a key of 16,384 bits has 12,600."""
_FEWEST: Final = 44
"""Characters of base64 in the shortest key (32 bytes)."""
_BODY: Final = re.compile(rb"(?:[A-Za-z0-9+/=]|\s|\\[nrt]|[A-Za-z\-]{3,20}: ?[^\r\n\\]{1,80}(?:\r?\n|\\n))*")
_END: Final = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=]{16,}")


def _check(place: Place) -> Found | None:
    data = place.text.data
    body = _BODY.match(data, place.end, place.end + _LONGEST_BYTES)
    if body is None or sum(len(run) for run in _BASE64.findall(body[0])) < _FEWEST:
        return None
    end = _END.match(data, body.end(), body.end() + 100)
    stop = end.end() if end is not None else place.end + len(body[0].rstrip())
    return Found(place.start, stop, "private_key", _RANK)


PRIVATE_KEYS: Final = (Pattern(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----", _check),)
