"""The events that a partition settles, read strictly: a forged one must neither stop the others nor touch another
account.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased, UsageRecorded

__all__ = ["InvalidUsage", "UsageEvent", "read_usage"]

_MOST_TOKENS: Final = 2**40
_MOST_PICOUSD: Final = 10**18


class InvalidUsage(Exception):
    """The message is not an event that the ledger can settle."""


class UsageEvent(Struct, frozen=True):
    """One message of the subject of usage."""

    sequence: int
    """In the stream of events."""
    event: UsageRecorded | HoldReleased | None
    """None: not an event that can be settled."""
    traceparent: str | None = None


def read_usage(subject: str, data: bytes) -> UsageRecorded | HoldReleased:
    """Raises InvalidUsage."""
    try:
        event = codec.USAGE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidUsage(str(error)) from error
    problem = _problem(subject, event)
    if problem is not None:
        raise InvalidUsage(problem)
    return event


def _problem(subject: str, event: UsageRecorded | HoldReleased) -> str | None:
    if not subjects.is_token(event.account) or subjects.usage(event.account) != subject:
        return "its account is not the one of its subject"
    if event.hold_id is not None and not event.hold_id.startswith(f"{event.account}."):
        return "its hold is that of another account"
    if isinstance(event, HoldReleased):
        return None
    tokens = (event.input_tokens, event.output_tokens, event.cached_input_tokens, event.reasoning_tokens)
    if not all(0 <= each <= _MOST_TOKENS for each in (*tokens, event.attempt)):
        return "a number of tokens is negative or absurd"
    money = (event.cost_picousd, event.saved_by_cache_picousd)
    if not all(-_MOST_PICOUSD <= each <= _MOST_PICOUSD for each in money) or event.cost_picousd < 0:
        return "an amount of money is negative or absurd"
    return None
