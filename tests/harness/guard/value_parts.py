"""Random parts of synthetic values."""

from __future__ import annotations

import base64
import random
import string
import zlib
from collections.abc import Callable
from typing import Final

ALNUM: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
URL_SAFE: Final = ALNUM + "-_"
BASE64: Final = ALNUM + "+/"
HEX: Final = "0123456789abcdef"
UPPER_BASE32: Final = string.ascii_uppercase + "234567"
LOWER_BASE32: Final = string.ascii_lowercase + "234567"
LOWER_ALNUM: Final = string.ascii_lowercase + string.digits
UPPER_ALNUM: Final = string.ascii_uppercase + string.digits


def chars(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def digits(rng: random.Random, count: int) -> str:
    return chars(rng, string.digits, count)


def mixed(rng: random.Random, alphabet: str, count: int) -> str:
    """Random characters that have a digit, an upper-case and a lower-case letter."""
    while True:
        value = chars(rng, alphabet, count)
        if (
            any(c.isdigit() for c in value)
            and any(c.isupper() for c in value)
            and any(c.islower() for c in value)
        ):
            return value


def grouped(value: str, sizes: list[int], separator: str) -> str:
    groups, start = [], 0
    for size in sizes:
        groups.append(value[start : start + size])
        start += size
    return separator.join(groups)


def crc_base62(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = ALNUM[digit] + digits
    return digits


def other_char(rng: random.Random, char: str, alphabet: str) -> str:
    return rng.choice([c for c in alphabet if c != char])


def with_other_end(rng: random.Random, value: str, alphabet: str) -> str:
    return value[:-1] + other_char(rng, value[-1], alphabet)


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def template(rng: random.Random, pattern: str) -> str:
    """The pattern with a random digit for each #."""
    return "".join(rng.choice(string.digits) if c == "#" else c for c in pattern)


Maker = Callable[[random.Random], str]
"""Makes a value."""
