"""The record of one idempotency key of the HTTP edge, in the bucket `llm_idempotency`."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["IdempotencyRecord"]


class IdempotencyRecord(Struct, frozen=True, kw_only=True, tag="idempotency_record", tag_field="type"):
    """The request that answers every HTTP request with one idempotency key.

    It is written before the request is submitted. Its key in the bucket is a digest of account, API key and idempotency
    key.
    """

    client: str
    request_id: str
    """With `client` the address of the reply."""
    sha256: str
    """Of the route and the body, in hexadecimal digits: the same key with another body is rejected."""
    v: int = 1
