"""Mask secrets in output."""

from __future__ import annotations

import re

from penstock.contract.formats.api_key import PREFIX, START

__all__ = [
    "holds_api_key",
    "is_name_of_secret",
    "looks_secret",
    "masked_key",
    "without_api_keys",
    "without_secrets",
    "without_userinfo",
]

_TAIL_FROM = 12
"""Length from which the last four characters of a key are shown."""
_API_KEY = re.compile(rf"({START}{PREFIX}_)[A-Za-z0-9_-]{{8,}}")
"""A key of the HTTP edge, also one that is cut off."""
_USERINFO = re.compile(r"(?<=://)[^,\s]*@")
_SECRET = re.compile(
    r"""
    (?<![A-Za-z0-9])
    (?:
        (?:(?:sk|xai|pplx|nvapi|csk|glpat|xox[abp])-|(?:sk|gsk|hf|r8|fw|gh[opsu])_|AIza|AKIA|eyJ)[\w.-]{6,}
        | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
        | (?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}
        | Bearer\s+[^\s"]+
    )
    """,
    re.VERBOSE,
)
"""Keys by the prefixes of their issuers, as UUID, or as a run of letters and digits that no word and no name of a model
has; and what follows `Bearer`."""
_QUERY = re.compile(r"([?&][^=\s\"]*(?:key|token|secret|sig|passw)[^=\s\"]*=)[^&\s\"]+", re.IGNORECASE)
_NAME_OF_SECRET = re.compile(
    r"api[_-]?key|secret|passw|credential|authorization|(?:^|[_-])(?:key|token|pass|pwd|auth|bearer)$",
    re.IGNORECASE,
)


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


def looks_secret(text: str) -> bool:
    """Whether `text` contains what looks like a key or a password."""
    return without_secrets(text) != text


def without_secrets(text: str) -> str:
    """`text` with each part replaced that looks like a key or a password."""
    return _QUERY.sub(r"\1…", _SECRET.sub("…", without_userinfo(text)))


def is_name_of_secret(name: str) -> bool:
    """Whether a key or a variable of this name is likely to hold a secret, or the name of its variable."""
    return _NAME_OF_SECRET.search(name) is not None
