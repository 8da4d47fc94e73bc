"""What may be shown of a secret."""

from __future__ import annotations

import re

__all__ = ["masked_key", "without_userinfo"]

_TAIL_FROM = 12
"""Four characters of a shorter key would give too much of it away."""
_USERINFO = re.compile(r"(?<=://)[^,\s]*@")


def masked_key(key: str | None) -> str:
    """`set (ends …abcd)`, `set` for a short key, `not set`."""
    if not key:
        return "not set"
    return f"set (ends …{key[-4:]})" if len(key) >= _TAIL_FROM else "set"


def without_userinfo(address: str) -> str:
    """The address, or a comma-separated list of them, without the names and passwords in it."""
    return _USERINFO.sub("…@", address)
