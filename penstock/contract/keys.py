"""The record of one API key of the HTTP edge, in the bucket `llm_keys`."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

__all__ = ["STREAM_RESCUE_FORMS", "STREAM_RESCUE_PATTERN", "ApiKey"]

STREAM_RESCUE_PATTERN: Final = r"^(error|restart|hold(:[1-9][0-9]{0,4})?)$"
"""What a stream does when another attempt begins after text was sent; `hold` may have a number of milliseconds."""
STREAM_RESCUE_FORMS: Final = "error, hold, hold:1500 (milliseconds) or restart"
"""The pattern in words, for messages."""


class ApiKey(Struct, frozen=True, kw_only=True, tag="api_key", tag_field="type"):
    """What a key allows, and the digest by which it is recognised. The key itself is stored nowhere."""

    prefix: str
    """The public part of the key, eight of a-z and 2-7; also the key of the record in the bucket."""
    sha256: str
    """SHA-256 of the whole key, in hexadecimal digits (docs/decisions/0024)."""
    account: str
    """Requests with the key count for this account; a token of subjects."""
    user: str = ""
    """The end user of every request with the key; empty: a request may name one."""
    roles: tuple[str, ...] = ()
    """Roles that a request may name, `auto` among them."""
    models: tuple[str, ...] = ()
    """Models of the catalogue that a request may name. A key without roles and models allows everything."""
    rescue: Annotated[str, Meta(pattern=STREAM_RESCUE_PATTERN)] = "error"
    """The header `x-penstock-rescue` of requests that have none."""
    created_ms: int
    expires_ms: int | None = None
    """From this time on the key is rejected; None: it does not expire."""
    revoked_ms: int | None = None
    """When the key was revoked; None: it was not."""
    note: str = ""
    v: int = 1
