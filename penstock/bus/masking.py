"""Mask secrets in output."""

from __future__ import annotations

import re

__all__ = ["masked_key", "without_userinfo"]

_TAIL_FROM = 12
"""Length from which the last four characters of a key are shown."""
_USERINFO = re.compile(r"(?<=://)[^,\s]*@")


def masked_key(key: str | None) -> str:
    """`set (ends …abcd)`, `set` for a short key, `not set`."""
    if not key:
        return "not set"
    return f"set (ends …{key[-4:]})" if len(key) >= _TAIL_FROM else "set"


def without_userinfo(address: str) -> str:
    """An address, or a comma-separated list of addresses, without user names and passwords."""
    return _USERINFO.sub("…@", address)
