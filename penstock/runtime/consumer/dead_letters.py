"""Dead letters: the original message of work that cannot be done, with the reason and its history in headers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
from nats.js import JetStreamContext

from penstock.bus.publish import store
from penstock.contract import headers, subjects
from penstock.contract.headers import DeadAttempt, DeadHistory
from penstock.contract.reply import Delta, ReplyEvent, Restarted, Started, answer_bytes
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from penstock.runtime.consumer.delivery import Delivery, Unprocessable

__all__ = ["history_of", "store_dead_letter"]

_HEADER_BYTES: Final = 16 * 1024
"""Bytes of a message reserved for headers."""
_KEPT: Final = (headers.REPLY_SUBJECT, headers.TRACEPARENT, headers.CLIENT)
_NO_END: Final = "no end"
_ATTEMPTS_KEPT: Final = 20
_NAME_CHARACTERS: Final = 64
"""Characters kept of a name: twenty attempts with three such names take half of `_HEADER_BYTES`."""


async def store_dead_letter(
    js: JetStreamContext,
    role: str,
    delivery: Delivery,
    dead: Unprocessable,
    history: DeadHistory | None = None,
) -> None:
    """Store `delivery` among the dead letters of `role`; a repetition is not stored. Raises what `store` raises.

    A body at the size limit of a message is truncated to leave space for the headers, and a header says so.
    """
    limit = MAX_PAYLOAD_BYTES - _HEADER_BYTES
    described = _described(delivery, dead)
    if history is not None and history.attempts:
        described[headers.DEAD_HISTORY] = json.dumps(msgspec.to_builtins(history), separators=(",", ":"))
    if len(delivery.data) > limit:
        described[headers.DEAD_TRUNCATED] = str(len(delivery.data))
    await store(
        js,
        subjects.dead(role),
        delivery.data[:limit],
        message_id=f"dead.{delivery.subject}.{delivery.sequence}",
        headers=described,
    )


def history_of(events: Sequence[ReplyEvent]) -> DeadHistory:
    """The attempts that the stored reply events show, bounded in number and length."""
    broken = {event.attempt - 1: event.code for event in events if isinstance(event, Restarted)}
    started = sorted(
        (event for event in events if isinstance(event, Started)), key=lambda event: event.attempt
    )
    attempts = tuple(
        DeadAttempt(
            attempt=event.attempt,
            model=_name(event.model),
            provider=_name(event.provider),
            worker=_name(event.worker),
            at_ms=event.at_ms,
            outcome=broken.get(event.attempt, _NO_END),
            bytes_out=_bytes_out(events, event.attempt),
        )
        for event in started[-_ATTEMPTS_KEPT:]
    )
    return DeadHistory(attempts=attempts, left_out=len(started) - len(attempts))


def _bytes_out(events: Sequence[ReplyEvent], attempt: int) -> int:
    deltas = (event for event in events if isinstance(event, Delta) and event.attempt == attempt)
    return sum(answer_bytes(delta.text, delta.choices) for delta in deltas)


def _described(delivery: Delivery, dead: Unprocessable) -> dict[str, str]:
    described = {name: _one_line(value) for name in _KEPT if (value := delivery.headers.get(name))}
    return described | {
        headers.DEAD_REASON: dead.code,
        headers.DEAD_MESSAGE: _one_line(dead.message),
        headers.DEAD_SUBJECT: delivery.subject,
        headers.DEAD_DELIVERIES: str(delivery.number),
        headers.DEAD_STORED_MS: str(delivery.stored_ns // 1_000_000),
    }


def _name(text: str) -> str:
    return _one_line(text)[:_NAME_CHARACTERS]


def _one_line(text: str) -> str:
    """`text` as a header value: printable ASCII on one line, of bounded length."""
    words = " ".join(text.split())[:500].encode("ascii", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in words)
