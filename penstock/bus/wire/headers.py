"""Header blocks of NATS messages, where they have the ordinary form. nats-py reads and writes any other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from nats.errors import BadHeaderError

__all__ = ["decode_headers", "encode_headers"]

_VERSION: Final = "NATS/1.0\r\n"
_END: Final = b"\r\n\r\n"
_LINES: Final = re.compile(r"^([!-9;-~]+): ([!-~](?:[ -~]*[!-~])?)\r$", re.MULTILINE).findall
"""The lines with a name without spaces and a value that neither begins nor ends with one, in printable ASCII."""
_STATUS: Final = re.compile(r"NATS/1\.0 (\d{3}) ([!-~](?:[ -~]*[!-~])?)\r\n", re.ASCII).match
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NAMES_KEPT: Final = 256


def decode_headers(block: bytes) -> dict[str, str] | None:
    """The headers of a block, as nats-py reads them; None: the block has another form than an optional status with a
    description and `_LINES`.
    """
    if not block.endswith(_END):
        return None
    text = block[:-2].decode("ascii", "replace")
    headers: dict[str, str] = {}
    if text.startswith(_VERSION):
        lines = text[len(_VERSION) :]
    elif status := _STATUS(text):
        headers["Status"], headers["Description"] = status.groups()
        lines = text[status.end() :]
    else:
        return None
    pairs = _LINES(lines)
    if len(pairs) != lines.count("\n"):
        return None
    headers.update(pairs)
    return headers or None


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """The block of `headers`, as nats-py writes it. Raises BadHeaderError for a name that is no token."""
    lines = [_VERSION]
    for name, value in headers.items():
        text = value.strip()
        if "\n" in text or "\r" in text:
            text = text.replace("\r", " ").replace("\n", " ")
        if start := _line_start(name):
            lines += (start, text, "\r\n")
    lines.append("\r\n")
    return "".join(lines).encode()


@lru_cache(_NAMES_KEPT)
def _line_start(name: str) -> str:
    """The start of the line of a header; empty for an empty name, which has no line."""
    stripped = name.strip()
    if not stripped:
        return ""
    if _NAME(stripped) is None:
        raise BadHeaderError(stripped)
    return f"{stripped}: "
