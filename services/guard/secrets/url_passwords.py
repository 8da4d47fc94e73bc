"""Passwords in URLs (`scheme://user:password@host`): only the password is the finding."""

from __future__ import annotations

from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place
from services.guard.secrets.randomness import is_placeholder

__all__ = ["URL_PASSWORDS"]

_RANK: Final = 10
_SHORTEST: Final = 6
_USUAL: Final = frozenset(
    {
        "postgres",
        "mysql",
        "redis",
        "mongo",
        "rabbit",
        "rabbitmq",
        "secret",
        "token",
        "default",
        "minioadmin",
        "x-oauth-basic",
    }
    | {"пароль", "parola", "şifre", "sifre", "foobar"}
)
"""Passwords of examples and of local containers."""
_NOT_IN_URL: Final = r"\"'<>\x60\x00-\x20\x{85}\x{A0}\x{AB}\x{BB}\x{700}-\x{1DFF}\x{2000}-\x{10FFFF}"
"""Not in the user and the password of a URL: blanks, quotes, and scripts and symbols of which a URL has the codes."""


def _check(place: Place) -> Found | None:
    password = place.value
    user = place.text[place.whole[0] : place.start - 1].rpartition("/")[2]
    if len(password) < _SHORTEST or password.lower() in _USUAL or password.lower() == user.lower():
        return None
    if is_placeholder(password) or not any(not character.islower() for character in password):
        return None
    return Found(place.start, place.end, "url_password", _RANK)


URL_PASSWORDS: Final = (
    Pattern(
        rf"\b[a-zA-Z][a-zA-Z0-9+.\-]{{1,20}}://[^:/?#@{_NOT_IN_URL}]{{0,64}}:([^/@{_NOT_IN_URL}]{{1,256}})@[\pL\pN\[_]",
        _check,
        hint=r"[a-zA-Z0-9+.\-]://[^\s/@]*:[^\s/@]+@",
    ),
)
