"""Requests to an edge without keys must name this machine: else a page whose name was rebound to a loopback address
could send some, and read the answers, as of its own origin.
"""

from __future__ import annotations

import re
from typing import Final

from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange

__all__ = ["refuse_foreign_host"]

_LOOPBACK: Final = re.compile(
    r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)


def refuse_foreign_host(exchange: Exchange) -> None:
    """Raises HttpError (421) unless every header `host` names the loopback interface."""
    hosts = [value for name, value in exchange.request_headers if name == b"host"]
    if not hosts or not all(_LOOPBACK.fullmatch(host.decode("latin-1").strip()) for host in hosts):
        message = (
            "without API keys the edge serves this machine only, under the names localhost, 127.0.0.1 and [::1]: use "
            "one of them, or create a key with `penstock keys create`"
        )
        raise HttpError.of("misdirected_request", message, param="host")
