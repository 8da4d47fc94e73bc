"""API keys: `psk_<prefix>_<secret><checksum>`.

The prefix names the key in lists and in the bucket. The secret is 32 random bytes in base64url. The checksum, CRC-32 of
all before it in six digits of base 62, tells a mistyped key from a wrong one, and a key from similar text.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Callable
from typing import Final

from penstock.contract.formats.api_key import CHECKSUM, PREFIX, RANDOM, START

__all__ = ["digest", "make_key", "prefix_of"]

_KEY: Final = re.compile(rf"{START}({PREFIX})_{RANDOM}({CHECKSUM})", re.ASCII)
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_DIGITS: Final = 6
_PREFIX_BYTES: Final = 5
_SECRET_BYTES: Final = 32


def make_key(random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new key. `random` returns so many random bytes."""
    prefix = base64.b32encode(random(_PREFIX_BYTES)).decode().lower()
    secret = base64.urlsafe_b64encode(random(_SECRET_BYTES)).decode().rstrip("=")
    body = f"{START}{prefix}_{secret}"
    return body + _checksum(body)


def prefix_of(key: str) -> str | None:
    """The prefix of a well-formed key; None for any other text."""
    match = _KEY.fullmatch(key)
    if match is None or _checksum(key[:-_CHECKSUM_DIGITS]) != match[2]:
        return None
    return match[1]


def digest(key: str) -> str:
    """What is stored of a key. A plain hash is enough for 256 random bits (docs/decisions/0024)."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_DIGITS):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
