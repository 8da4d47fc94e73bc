"""Refusals of holds, in sentences for the person whose request it is."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import LimitName, Scope
from services.ledger.budget.counters import MONEY, OPEN_HOLDS, REQUESTS, TOKENS
from services.ledger.budget.limits import Limit, microusd, status_of
from services.ledger.budget.periods import iso_time

__all__ = ["Problem", "disabled", "held_by_others", "too_many_output_tokens", "unpriced", "used_up", "whose"]

_WHAT: Final[dict[LimitName, str]] = {
    "requests_per_second": "requests per second",
    "requests_per_minute": "requests per minute",
    "requests_per_hour": "requests per hour",
    "tokens_per_minute": "tokens per minute",
    "tokens_per_day": "tokens per day",
    "tokens_per_request": "output tokens per request",
    "microusd_per_day": "per day",
    "microusd_per_month": "per month",
    "concurrency": "requests at once",
}
_TRAFFIC: Final = {"chat": " of chats", "embed": " of embeddings", "background": " of background work"}
_HELD_RETRY_S: Final = 1.0
"""Seconds after which a retry may find that other requests have ended."""


class Problem(Struct, frozen=True):
    """A limit without room for a request."""

    whose: str
    limit: Limit
    status: LimitStatus
    spent: int
    held: int
    """By other requests."""
    need: int
    time_zone: str


def whose(scope: Scope, account: str, name: str) -> str:
    if scope == "system":
        return "the whole system"
    if scope == "account":
        return f"account '{account}'"
    return f"{'user' if scope == 'user' else 'API key'} '{name}' of account '{account}'"


def disabled(request: HoldRequest, whose: str) -> HoldRefused:
    message = f"Requests of {whose} are disabled. An administrator of the gateway can enable them."
    return HoldRefused(id=request.id, code="account_disabled", message=message)


def unpriced(request: HoldRequest, whose: str) -> HoldRefused:
    message = (
        f"The budget of {whose} limits money, and this request may be answered by a model without a known price: "
        f"{', '.join(request.unpriced)}."
    )
    return HoldRefused(id=request.id, code="budget_unavailable", message=message)


def too_many_output_tokens(request: HoldRequest, whose: str, scope: Scope, limit: Limit) -> HoldRefused:
    message = (
        f"The request asks for up to {request.output_tokens:,} output tokens, and the limit of {whose} is "
        f"{limit.allowed:,} output tokens per request{_part(limit)}. Ask for fewer tokens."
    )
    return HoldRefused(
        id=request.id, code="request_too_large", message=message, limit=status_of(scope, limit, (0, 0), 0)
    )


def used_up(request: HoldRequest, problem: Problem, now_ms: int) -> HoldRefused:
    """What is spent leaves no room for the request."""
    limit = problem.limit
    if problem.need > limit.allowed:
        message = f"{_needs(problem)}, which is more than the limit: {_allowed(problem)}."
        retry_after_s = None
    else:
        message = f"The limit of {problem.whose} leaves too little for this request: {_state(problem)}."
        if limit.kind.unit != REQUESTS:
            message += f" {_needs(problem)}."
        retry_after_s = None
        if problem.status.resets_at_ms:
            begins = iso_time(problem.status.resets_at_ms, problem.time_zone)
            message += f" The limit begins anew at {begins}."
            retry_after_s = max(0, problem.status.resets_at_ms - now_ms) / 1000
    return HoldRefused(
        id=request.id,
        code="budget_exceeded" if limit.kind.unit == MONEY else "rate_limited",
        message=message,
        limit=problem.status,
        retry_after_s=retry_after_s,
    )


def held_by_others(request: HoldRequest, problem: Problem) -> HoldRefused:
    """Requests that have not ended hold what this one needs."""
    message = (
        f"Requests that are in progress use the rest of the limit of {problem.whose}: {_state(problem)}. "
        "Try again when some of them have ended."
    )
    return HoldRefused(
        id=request.id,
        code="rate_limited",
        message=message,
        limit=problem.status,
        retry_after_s=_HELD_RETRY_S,
    )


def _needs(problem: Problem) -> str:
    if problem.limit.kind.unit == MONEY:
        return f"This request may cost up to {_usd(problem.need)}"
    if problem.limit.kind.unit == TOKENS:
        return f"This request may use up to {problem.need:,} tokens"
    return "This request counts as 1"


def _state(problem: Problem) -> str:
    limit = problem.limit
    if limit.kind.unit == OPEN_HOLDS:
        return f"{_allowed(problem)}, {problem.held:,} are in progress"
    if limit.kind.unit == MONEY:
        return f"{_allowed(problem)}, {_usd(problem.spent)} are spent and {_usd(problem.held)} reserved"
    if limit.kind.unit == TOKENS:
        return f"{_allowed(problem)}, {problem.spent:,} are used and {problem.held:,} reserved"
    return f"{_allowed(problem)}, {problem.spent:,} are used"


def _allowed(problem: Problem) -> str:
    limit = problem.limit
    what = _WHAT[limit.kind.name]
    allowed = _usd(limit.allowed) if limit.kind.unit == MONEY else f"{limit.allowed:,}"
    return f"{allowed} {what}{_part(limit)} are allowed for {problem.whose}"


def _part(limit: Limit) -> str:
    return _TRAFFIC[limit.traffic] if limit.traffic is not None else ""


def _usd(picousd: int) -> str:
    """Dollars with two to six decimal places."""
    dollars, micro = divmod(microusd(picousd), 1_000_000)
    decimals = f"{micro:06}".rstrip("0").ljust(2, "0")
    return f"{dollars:,}.{decimals} USD"
