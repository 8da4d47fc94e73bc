"""Refusals of holds, in sentences for the person whose request it is."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import Scope, TrafficClass
from services.ledger.budget.counters import MONEY, OPEN_HOLDS, REQUESTS
from services.ledger.budget.limits import Limit, microusd, status_of
from services.ledger.budget.periods import local_time

__all__ = ["Problem", "disabled", "held_by_others", "too_many_output_tokens", "unpriced", "used_up", "whose"]

_TRAFFIC: Final[dict[TrafficClass, str]] = {
    "chat": "chat requests",
    "embed": "embedding requests",
    "background": "background work",
}
_KINDS: Final[dict[TrafficClass, str]] = {"chat": "chat", "embed": "embedding", "background": "background"}
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
        f"{', '.join(request.unpriced)}. Set its price with `penstock prices set {request.unpriced[0]} --input ... "
        "--output ...`, or set `when_price_unknown: count_tokens` in the section `budgets` of the catalogue."
    )
    return HoldRefused(id=request.id, code="budget_unavailable", message=message)


def too_many_output_tokens(request: HoldRequest, whose: str, scope: Scope, limit: Limit) -> HoldRefused:
    part = "" if limit.traffic is None else f" for {_TRAFFIC[limit.traffic]}"
    allowed = f"the limit of {whose} is {limit.allowed:,} output tokens per request{part}"
    if not limit.allowed:
        message = f"No output is allowed: {allowed}."
    elif request.output_assumed:
        message = (
            f"The request sets no max_tokens, so the default of {request.output_tokens:,} output tokens counts, and "
            f"{allowed}. Set max_tokens to at most {limit.allowed}."
        )
    else:
        message = (
            f"The request asks for up to {request.output_tokens:,} output tokens, and {allowed}. "
            "Ask for fewer tokens."
        )
    return HoldRefused(
        id=request.id, code="request_too_large", message=message, limit=status_of(scope, limit, (0, 0), 0)
    )


def used_up(request: HoldRequest, problem: Problem, now_ms: int) -> HoldRefused:
    """What is spent leaves no room for the request."""
    limit = problem.limit
    retry_after_s = None
    if limit.allowed == 0:
        message = _nothing_allowed(problem)
    elif problem.need > limit.allowed > problem.spent:
        message = f"This request {_needs(problem)}, and {problem.whose} {_may(limit)}. {_smaller(limit, '')}"
    else:
        again = ""
        if problem.status.resets_at_ms:
            wait_s = max(0, problem.status.resets_at_ms - now_ms) / 1000
            again = f"at {local_time(problem.status.resets_at_ms, now_ms, problem.time_zone)}"
            again += f" (in {_duration(wait_s)})"
            if problem.need > limit.allowed:
                again += ", with a request that needs no more than the whole limit"
            else:
                retry_after_s = wait_s
        message = f"{_state(problem)}. {_what_helps(problem, again)}"
    return HoldRefused(
        id=request.id,
        code="budget_exceeded" if limit.kind.unit == MONEY else "rate_limited",
        message=message.rstrip(),
        limit=problem.status,
        retry_after_s=retry_after_s,
    )


def held_by_others(request: HoldRequest, problem: Problem) -> HoldRefused:
    """Requests that have not ended hold what this one needs."""
    return HoldRefused(
        id=request.id,
        code="rate_limited",
        message=f"{_state(problem)}. Try again when requests that are in progress have ended.",
        limit=problem.status,
        retry_after_s=_HELD_RETRY_S,
    )


def _nothing_allowed(problem: Problem) -> str:
    limit = problem.limit
    what = "requests" if limit.traffic is None else _TRAFFIC[limit.traffic]
    if limit.kind.unit == MONEY:
        amount = f"{_usd(0)} {_period(limit)}"
    else:
        amount = f"0 {limit.kind.name.partition('_')[0]} {_period(limit)}"
    if limit.kind.unit == OPEN_HOLDS:
        amount = "0 requests at once"
    verb = "is" if limit.traffic == "background" else "are"
    return f"No {what} {verb} allowed for {problem.whose}: the limit is {amount}."


def _state(problem: Problem) -> str:
    """What is allowed, how much of it is used, and what the request needs."""
    limit, who = problem.limit, problem.whose[0].upper() + problem.whose[1:]
    if limit.kind.unit == REQUESTS:
        sent = "it" if problem.spent == limit.allowed == 1 else f"{problem.spent:,}"
        return f"{who} {_may(limit)} and has sent {sent}"
    if limit.kind.unit == OPEN_HOLDS:
        return f"{who} {_may(limit)} and has {problem.held:,}"
    show, used = (_usd, "spent") if limit.kind.unit == MONEY else (_count, "used")
    held = f" and {show(problem.held)} reserved" if problem.held else ""
    return f"{who} {_may(limit)}; {show(problem.spent)} are {used}{held}, and this request {_needs(problem)}"


def _needs(problem: Problem) -> str:
    if problem.limit.kind.unit == MONEY:
        return f"may cost up to {_usd(problem.need)}"
    return f"may use up to {_count(problem.need)} tokens"


def _may(limit: Limit) -> str:
    """What the limit allows."""
    part = "" if limit.traffic is None else f" for {_TRAFFIC[limit.traffic]}"
    if limit.kind.unit == MONEY:
        return f"may spend {_usd(limit.allowed)} {_period(limit)}{part}"
    if limit.kind.unit not in (REQUESTS, OPEN_HOLDS):
        return f"may use {_count(limit.allowed)} tokens {_period(limit)}{part}"
    kind = "" if limit.traffic is None else f"{_KINDS[limit.traffic]} "
    requests = f"{_count(limit.allowed)} {kind}{'request' if limit.allowed == 1 else 'requests'}"
    if limit.kind.unit == OPEN_HOLDS:
        return f"may have {requests} in progress at once"
    return f"may send {requests} {_period(limit)}"


def _what_helps(problem: Problem, again: str) -> str:
    """`again`: when to try again; empty if no time is known."""
    limit = problem.limit
    if limit.kind.unit in (REQUESTS, OPEN_HOLDS):
        return f"Try again {again}." if again else ""
    if problem.spent < limit.allowed:
        return _smaller(limit, again)
    later = f", or try again {again}" if again else ""
    return f"Have the limit raised{later}." if limit.kind.unit == MONEY else f"Try again {again}."


def _smaller(limit: Limit, again: str) -> str:
    """How to ask for less."""
    less = "name a cheaper model" if limit.kind.unit == MONEY else "shorten the request"
    later = f", or try again {again}" if again else ""
    return f"Set a smaller max_tokens, {less}, {'' if later else 'or '}have the limit raised{later}."


def _period(limit: Limit) -> str:
    return f"per {limit.kind.name.rpartition('_')[2]}"


def _duration(seconds: float) -> str:
    """Rounded up, in the largest unit of which there are at least two."""
    for unit, unit_s in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{math.ceil(seconds / unit_s)} {unit}"
    return f"{math.ceil(seconds)} s"


def _count(number: int) -> str:
    return f"{number:,}"


def _usd(picousd: int) -> str:
    """Dollars with two to six decimal places."""
    dollars, micro = divmod(microusd(picousd), 1_000_000)
    decimals = f"{micro:06}".rstrip("0").ljust(2, "0")
    return f"{dollars:,}.{decimals} USD"
