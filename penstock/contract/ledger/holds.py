"""Holds: the estimated cost of a request, reserved before its work starts.

Money inside the ledger is an integer of picodollars (a millionth of a micro-dollar), so that sums of cheap requests are
exact. A hold is a cumulative authorisation: a second request with the same id raises it.
"""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.errors import ErrorCode
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import TrafficClass
from penstock.contract.names import Role

__all__ = ["HoldAnswer", "HoldBatch", "HoldBatchAnswer", "HoldGranted", "HoldRefused", "HoldRequest"]


class HoldRequest(Struct, frozen=True, kw_only=True, tag="hold_request", tag_field="type"):
    """Reserve the estimated cost of a request. The same id with higher amounts raises an existing hold, and with the
    same or lower ones confirms it, so that a repeated question is harmless.
    """

    id: str
    """`<account>.<client>.<request id>`."""
    account: str
    user: str = ""
    key: str = ""
    """The prefix of the API key with which it was sent."""
    traffic: TrafficClass = "chat"
    role: Role
    picousd: int
    """The most that the request may cost in all: what its attempts cost so far, and the estimate of the next one."""
    tokens: int
    """The same in tokens, input and output together."""
    output_tokens: int = 0
    """The output limit of the request, for `tokens_per_request`."""
    output_assumed: bool = False
    """The request sets no output limit, so `output_tokens` is a default."""
    unpriced: tuple[str, ...] = ()
    """Models that may answer and have no price."""
    raises: bool = False
    """The work has begun, and another attempt needs more. False: the request is not queued yet; the attempts of an
    earlier one with this id, which has ended, are not its own."""
    deadline_ms: int
    """When the hold expires if nothing ends it before, Unix milliseconds."""
    wait_s: float = 0.0
    """How long the answer may wait while holds of other requests, which may be released, use up the limit."""
    v: int = 1


class HoldGranted(Struct, frozen=True, kw_only=True, tag="hold_granted", tag_field="type"):
    """The amount is reserved until it is settled, released or expires."""

    id: str
    requests: LimitStatus | None = None
    """Of the limits on requests, the one with the fewest left; None: there is none."""
    tokens: LimitStatus | None = None
    """The same for the limits on tokens."""
    unbounded: bool = False
    """No limit on tokens or money applies to the request, so its output needs no limit. Limits that only raise alerts
    do not count."""
    v: int = 1


class HoldRefused(Struct, frozen=True, kw_only=True, tag="hold_refused", tag_field="type"):
    """Nothing is reserved; the message names the limit, what is left of it, and when it frees."""

    id: str
    code: ErrorCode
    message: str
    limit: LimitStatus | None = None
    """None: not a limit refused, but a disabled scope or an unknown price."""
    retry_after_s: float | None = None
    """None: a retry does not help before the policy changes."""
    v: int = 1


HoldAnswer = HoldGranted | HoldRefused


class HoldBatch(Struct, frozen=True, kw_only=True, tag="hold_batch", tag_field="type"):
    """The holds of one group of requests against the limits of the whole system, from the owner of another
    partition.
    """

    holds: tuple[HoldRequest, ...]
    released: tuple[str, ...] = ()
    """Holds of earlier batches that were granted here and refused by the limits of the account: they are released."""
    v: int = 1


class HoldBatchAnswer(Struct, frozen=True, kw_only=True, tag="hold_batch_answer", tag_field="type"):
    """One answer for each hold, in the same order."""

    answers: tuple[HoldAnswer, ...]
    v: int = 1
