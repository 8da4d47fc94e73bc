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
        r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s:/?#@\"'<>\x60]{0,64}:([^\s/@\"'<>\x60]{1,256})@[\pL\pN\[_]",
        _check,
        hint=r"[a-zA-Z0-9+.\-]://[^\s/@]*:[^\s/@]+@",
    ),
)
