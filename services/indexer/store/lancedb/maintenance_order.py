"""The order to a maintenance process and its answer, one JSON object each."""

from __future__ import annotations

import msgspec

__all__ = ["Order", "Outcome", "decode_order", "encode_order"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    table: str
    build_vector_index: bool
    purge: bool
    """Write everything again without what was deleted, and remove all older files."""
    kept_s: float
    """Age of the versions that are removed."""
    max_bytes: int
    """Of private memory; 0: no limit."""


class Outcome(msgspec.Struct, frozen=True):
    error: str = ""
    """The class of the store's error; empty: it was done."""
    message: str = ""


def encode_order(order: Order) -> bytes:
    return msgspec.json.encode(order) + b"\n"


def decode_order(line: bytes) -> Order:
    return msgspec.json.decode(line, type=Order)
