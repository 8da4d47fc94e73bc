"""Names and values of response headers."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

__all__ = ["EVENT_STREAM", "JSON", "REQUEST_ID", "Header", "header_text", "request_id_headers"]

Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
REQUEST_ID: Final = b"x-request-id"

_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F)))


def header_text(text: str) -> bytes:
    """`text` as a header value; characters outside of printable ASCII are percent-encoded."""
    return quote(text, safe=_PRINTABLE, errors="replace").encode("ascii")


def request_id_headers(request_id: str) -> tuple[Header, Header]:
    """OpenAI's SDKs show the first one with errors, Anthropic's the second one."""
    return (REQUEST_ID, request_id.encode()), (b"request-id", request_id.encode())
