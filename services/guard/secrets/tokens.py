"""Keys and tokens that their beginning names; those with check digits are verified."""

from __future__ import annotations

import base64
import binascii
import string
import zlib
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.contract.formats.api_key import CHECKSUM, PREFIX, RANDOM, START
from penstock.runtime.api_keys.format import prefix_of
from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Check, Pattern, Place
from services.guard.secrets.randomness import bits_per_character, is_masked

__all__ = ["TOKENS"]

_RANK: Final = 30
_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "_-")
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_DIGITS: Final = 6
_LEAST_BITS: Final = 2.8
"""Random characters have above 3.4 in the shortest tokens of this module (16 characters)."""
_PUBLISHED: Final = ("SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",)
"""The signature of the token that the pages about JWT show."""


def _token(kind: str, verify: Callable[[str], bool] | None = None) -> Check:
    def check(place: Place) -> Found | None:
        value = place.value
        before, following = place.text.character_before(place.start), place.text.after(place.end, 1)
        if place.start > place.whole[0]:
            before = ""  # the pattern says what may stand there
        if following in _TOKEN_CHARACTERS or before in _TOKEN_CHARACTERS - {"-"}:
            return None  # a part of something longer
        if is_masked(value) or bits_per_character(value) < _LEAST_BITS:
            return None
        if verify is not None and not verify(value):
            return None
        return Found(place.start, place.end, kind, _RANK)

    return check


def _has_checksum(token: str) -> bool:
    """CRC-32 of the random part in six digits of base 62, as in the tokens of GitHub and npm (GitHub's blog, "Behind
    GitHub's new authentication token formats"). Longer forms have none that is known.
    """
    body = token.partition("_")[2]
    if len(body) != 36:
        return True
    number = 0
    for character in body[-_CHECKSUM_DIGITS:]:
        number = number * len(_DIGITS) + _DIGITS.index(character)
    return number == zlib.crc32(body[:-_CHECKSUM_DIGITS].encode())


def _is_jwt(token: str) -> bool:
    header, _, rest = token.partition(".")
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return (
        isinstance(decoded, dict) and ("alg" in decoded or "enc" in decoded) and not rest.endswith(_PUBLISHED)
    )


def _is_mixed(value: str) -> bool:
    """Whether upper case, lower case and digits occur: tokens without a fixed part in them."""
    return (
        any(c.isdigit() for c in value)
        and any(c.isupper() for c in value[3:])
        and any(c.islower() for c in value[3:])
    )


TOKENS: Final = (
    Pattern(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", _token("aws_access_key")),
    Pattern(r"\bgh[opsur]_[0-9A-Za-z]{36,255}\b", _token("github_token", _has_checksum)),
    Pattern(r"\bgithub_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}\b", _token("github_token")),
    Pattern(r"\bnpm_[0-9A-Za-z]{36}\b", _token("npm_token", _has_checksum)),
    Pattern(
        r"\bgl(?:pat|dt|rt|ptt|ft|soat|cbt|imt|agent|oas|ffct|rtr)-[0-9A-Za-z_\-]{20,300}(?:\.[0-9a-z]{2}\.[0-9a-z]{9})?",
        _token("gitlab_token"),
    ),
    Pattern(
        r"\bsk-(?:[a-z]{2,12}-)?[0-9A-Za-z_\-]{16,160}T3BlbkFJ[0-9A-Za-z_\-]{16,160}", _token("openai_key")
    ),
    Pattern(
        r"\bsk-(?:(?:proj|svcacct|admin)-[0-9A-Za-z_\-]{40,200}|[0-9A-Za-z]{48})",
        _token("openai_key", _is_mixed),
    ),
    Pattern(r"\bsk-ant-[a-z]{3,8}\d\d-[0-9A-Za-z_\-]{80,120}", _token("anthropic_key")),
    Pattern(r"\bgsk_[0-9A-Za-z]{52}\b", _token("groq_key")),
    Pattern(
        r"\bxox[a-z]-(?:\d{1,14}-){1,3}[0-9A-Za-z]{16,64}|\bxapp-\d-[0-9A-Z]{9,14}-\d{9,14}-[0-9a-f]{32,64}"
        r"|\bxox[ce](?:\.xox[bp])?-\d-[0-9A-Za-z\-]{100,220}",
        _token("slack_token"),
    ),
    Pattern(
        r"\bhooks\.slack\.com/(?:services|workflows|triggers)/T[0-9A-Za-z_/]{24,80}", _token("slack_token")
    ),
    Pattern(
        r"\b(?:[sr]k_(?:live|test)_[0-9A-Za-z]{20,247}|whsec_[0-9A-Za-z+/]{32,64})", _token("stripe_key")
    ),
    Pattern(r"\bAIza[0-9A-Za-z_\-]{35}", _token("google_api_key")),
    Pattern(r"\bhf_[0-9A-Za-z]{34,40}\b", _token("hugging_face_token")),
    Pattern(
        r"\beyJ[0-9A-Za-z_\-]{10,}\.[0-9A-Za-z_\-]{10,}\.[0-9A-Za-z_\-]{10,}(?:\.[0-9A-Za-z_\-]{10,}){0,2}",
        _token("jwt", _is_jwt),
    ),
    Pattern(r"(?:\b|/bot)(\d{8,10}:AA[0-9A-Za-z_\-]{33})", _token("telegram_bot_token")),
    Pattern(
        rf"\b{START}{PREFIX}_{RANDOM}{CHECKSUM}",
        _token("penstock_key", lambda key: prefix_of(key) is not None),
    ),
)
