"""The events that a partition settles, read strictly: a forged one must neither stop the others nor touch another
account.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased, UsageRecorded
from services.ledger.budget.holds import MOST_PICOUSD, MOST_TOKENS

__all__ = ["InvalidUsage", "UsageEvent", "read_usage"]

_MOST_CHARACTERS: Final = 1_024
"""Of each text: what is booked is stored in the journal, together with other usage."""


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
    texts: tuple[str, ...]
    if isinstance(event, HoldReleased):
        texts = (event.hold_id, event.why)
    else:
        texts = (event.id, event.client, event.user, event.key, event.model, event.hold_id or "")
    if max(map(len, texts)) > _MOST_CHARACTERS:
        return "a text is too long"
    return None if isinstance(event, HoldReleased) else _problem_of_amounts(event)


def _problem_of_amounts(event: UsageRecorded) -> str | None:
    tokens = (event.input_tokens, event.output_tokens, event.cached_input_tokens, event.reasoning_tokens)
    if not all(0 <= each <= MOST_TOKENS for each in (*tokens, event.attempt)):
        return f"a number of tokens is negative or more than {MOST_TOKENS}"
    money = (event.cost_picousd, event.saved_by_cache_picousd)
    if not all(-MOST_PICOUSD <= each <= MOST_PICOUSD for each in money) or event.cost_picousd < 0:
        return f"an amount of money is negative or more than {MOST_PICOUSD // 10**12:,} USD"
    return None
