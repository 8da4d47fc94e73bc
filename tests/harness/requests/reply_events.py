"""The events of replies, made for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from penstock.contract.reply import (
    Accepted,
    Completed,
    Delta,
    Failed,
    Failure,
    ReplyEvent,
    Restarted,
    Started,
    Usage,
    first_seq,
)

__all__ = ["accepted", "attempt", "completed", "delta", "failed", "restarted", "started"]

ID = "019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a"


def accepted(**fields: Any) -> Accepted:
    usual: dict[str, Any] = {
        "role": "coding",
        "complexity": "simple",
        "why": "named in the request",
        "lane": "interactive",
        "deadline_ms": 90_000,
        "at_ms": 1_000,
    }
    return Accepted(id=ID, seq=0, **{**usual, **fields})


def started(number: int = 1, model: str = "m") -> Started:
    return Started(
        id=ID, seq=first_seq(number), attempt=number, model=model, provider="p", worker="w", at_ms=1_250
    )


def delta(text: str = "", *choices: object, number: int = 1, seq: int = 0) -> Delta:
    raw = tuple(Raw(msgspec.json.encode(choice)) for choice in choices)
    return Delta(id=ID, seq=first_seq(number) + seq, attempt=number, text=text, choices=raw)


def restarted(number: int = 2) -> Restarted:
    return Restarted(
        id=ID, seq=first_seq(number) + 1, attempt=number, code="provider_unavailable", message="it was cut"
    )


def completed(number: int = 1, model: str = "m", **fields: Any) -> Completed:
    usual: dict[str, Any] = {
        "role": "coding",
        "provider": "p",
        "finish_reason": "stop",
        "usage": Usage(input_tokens=5, output_tokens=7),
    }
    return Completed(id=ID, seq=first_seq(number) + 999, attempt=number, model=model, **{**usual, **fields})


def failed(number: int = 1, **fields: Any) -> Failed:
    usual: dict[str, Any] = {"code": "provider_unavailable", "message": "all failed", "retry": "later"}
    return Failed(id=ID, seq=first_seq(number) + 999, attempt=number, error=Failure(**{**usual, **fields}))


def attempt(texts: Iterable[str], *, number: int = 1, model: str = "m") -> list[ReplyEvent]:
    """`started`, `restarted` for every attempt but the first, and the deltas."""
    events: list[ReplyEvent] = [started(number, model)]
    if number > 1:
        events.append(restarted(number))
    return [*events, *(delta(text, number=number, seq=n) for n, text in enumerate(texts, 2))]
