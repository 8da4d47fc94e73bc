"""Mask secrets in output."""

from __future__ import annotations

import re

from penstock.contract.formats.api_key import PREFIX, START

__all__ = ["holds_api_key", "masked_key", "without_api_keys", "without_userinfo"]

_TAIL_FROM = 12
"""Length from which the last four characters of a key are shown."""
_API_KEY = re.compile(rf"({START}{PREFIX}_)[A-Za-z0-9_-]{{8,}}")
"""A key of the HTTP edge, also one that is cut off."""
_USERINFO = re.compile(r"(?<=://)[^,\s]*@")


def masked_key(key: str | None) -> str:
    """`set (ends …abcd)`, `set` for a short key, `not set`."""
    if not key:
        return "not set"
    return f"set (ends …{key[-4:]})" if len(key) >= _TAIL_FROM else "set"


def without_userinfo(address: str) -> str:
    """An address, or a comma-separated list of addresses, without user names and passwords."""
    return _USERINFO.sub("…@", address)


def holds_api_key(text: str) -> bool:
    """Whether `text` contains what looks like an API key of the HTTP edge."""
    return _API_KEY.search(text) is not None


def without_api_keys(text: str) -> str:
    """`text` with the secret part of every API key of the HTTP edge replaced."""
    return _API_KEY.sub(r"\1…", text) if START in text else text
