"""API keys in places from which they would get into logs: such a request is refused, so that its sender notices."""

from __future__ import annotations

from typing import Final

from penstock.bus.masking import holds_api_key
from penstock.contract.formats.api_key import START
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange

__all__ = ["refuse_key_as", "refuse_misplaced_keys"]

_KEY_HEADERS: Final = frozenset({b"authorization", b"x-api-key"})
_START: Final = START.encode()


def refuse_misplaced_keys(exchange: Exchange) -> None:
    """Raises HttpError (400) for a key in the address or in another header."""
    if holds_api_key(exchange.path) or holds_api_key(exchange.query_string):
        raise _misplaced("the address of the request", "url")
    for name, value in exchange.request_headers:
        if _START in value or _START in name:
            shown = name if name in _KEY_HEADERS else b"%s:%s" % (name, value)
            if holds_api_key(shown.decode("latin-1")):
                raise _misplaced("another header", "headers")


def refuse_key_as(field: str, text: str) -> None:
    """Raises HttpError (400) for a key as the value of a field that is part of logs and traces."""
    if holds_api_key(text):
        raise _misplaced(f"the field {field}", field)


def _misplaced(place: str, param: str) -> HttpError:
    message = (
        f"there is an API key in {place}: send it in the header authorization or x-api-key only. It may have been "
        "logged on its way, so create another one and revoke it"
    )
    return HttpError.of("misplaced_api_key", message, param=param)
