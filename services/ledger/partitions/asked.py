"""A question about a hold while it is being answered, and the check of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import inf
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus.tracing import Span
from penstock.contract import codec
from penstock.contract.ledger.holds import HoldBatch, HoldRefused, HoldRequest
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.subjects import is_token, partition_of
from services.ledger.budget.holds import MOST_PICOUSD, MOST_TOKENS

__all__ = ["AskedHold", "InvalidHold", "Question", "problem_of", "read_question", "refused", "wait_s"]

_MOST_USER: Final = 1_024
_MOST_UNPRICED: Final = 1_000
_LATEST_DEADLINE_MS: Final = (LONGEST_WAIT_S + 24 * 3_600) * 1000
_LONGEST_WAIT_S: Final = 60.0
_PROBLEMS: Final = (
    "id must be three tokens with dots between",
    "id must begin with the account",
    "the account has another partition",
    f"user must have at most {_MOST_USER} characters",
    "key must be a token",
    f"picousd must be from 0 to {MOST_PICOUSD} ({MOST_PICOUSD // 10**12:,} USD)",
    f"tokens must be from 0 to {MOST_TOKENS}",
    f"output_tokens must be from 0 to {MOST_TOKENS}",
    f"unpriced must have at most {_MOST_UNPRICED} models",
    "deadline_ms must not be negative, nor weeks ahead",
    "wait_s must not be negative",
)
"""In the order of the checks of `problem_of`."""
_partition_of: Final = lru_cache(10_000)(partition_of)
"""A digest, which each request of an account needs."""


class InvalidHold(Exception):
    """The question cannot be answered; the message names the field."""


class Question(Struct, frozen=True):
    """A message to the owner of a partition."""

    data: bytes
    reply: str
    headers: Mapping[str, str]
    received_s: float
    """Monotonic."""


class AskedHold(Struct, frozen=True):
    """One hold that is asked for, and where its answer goes."""

    request: HoldRequest
    question: Question
    span: Span


def read_question(data: bytes, *, of_system: bool) -> HoldRequest | HoldBatch:
    """`of_system`: a question to the partition of the whole system. Raises InvalidHold."""
    try:
        read = codec.HOLD_REQUEST.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidHold(f"the message is not a hold_request: {error}") from error
    if isinstance(read, HoldBatch) != of_system:
        raise InvalidHold("the partition `system` answers hold_batch, and every other one hold_request")
    return read


def problem_of(request: HoldRequest, now_ms: int, partition: str | None = None) -> str | None:
    """What is wrong with a request; None: nothing. `partition`: the one of accounts that it was sent to."""
    account, _, rest = request.id.partition(".")
    client, _, name = rest.partition(".")
    holds = (
        is_token(account) and is_token(client) and is_token(name),
        account == request.account,
        partition is None or _partition_of(request.account) == partition,
        len(request.user) <= _MOST_USER,
        not request.key or is_token(request.key),
        0 <= request.picousd <= MOST_PICOUSD,
        0 <= request.tokens <= MOST_TOKENS,
        0 <= request.output_tokens <= MOST_TOKENS,
        len(request.unpriced) <= _MOST_UNPRICED,
        0 <= request.deadline_ms < now_ms + _LATEST_DEADLINE_MS,
        0 <= request.wait_s < inf,
    )
    return None if all(holds) else _PROBLEMS[holds.index(False)]


def wait_s(request: HoldRequest) -> float:
    """How long the answer may wait."""
    return min(request.wait_s, _LONGEST_WAIT_S)


def refused(hold_id: str, problem: str) -> HoldRefused:
    return HoldRefused(id=hold_id, code="invalid_request", message=problem)
