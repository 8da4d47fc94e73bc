"""The decision on a hold: granted, refused, or waiting for what other requests hold."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.journal import Held
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import Scope
from services.ledger.budget import refusals
from services.ledger.budget.book import Book
from services.ledger.budget.counters import REQUESTS, TOKENS, Kind, Values, ends_at_s, starts_at_s
from services.ledger.budget.holds import Hold, amount, token_count
from services.ledger.budget.limits import CompiledPolicies, Limit, PolicyLimits, status_of
from services.ledger.budget.policies import Policies

__all__ = ["Asked", "Grant", "ScopeUse", "Wait", "asked_by", "decide", "scopes_of"]

_MOST: Final = 2**80
"""More than any limit leaves."""


class Grant(Struct, frozen=True):
    """The amount can be reserved."""

    entry: Held | None
    """None: it is reserved already, and nothing has to be stored."""
    answer: HoldGranted


class Wait(Struct, frozen=True):
    """Only amounts that other requests hold are in the way."""

    refusal: HoldRefused
    """The answer when the time to wait is over."""


Decision = Grant | Wait | HoldRefused


class ScopeUse(Struct, frozen=True):
    """One scope of a request: its limits, and what is counted for it."""

    scope: Scope
    account: str
    name: str
    limits: PolicyLimits
    total: Values | None
    of_class: Values | None
    """What is counted for the class of the request."""


class Asked(Struct, frozen=True):
    """What a request wants to have reserved that is not settled yet, and what it holds already."""

    hold: Hold | None
    picousd: int
    """In all, what is settled included."""
    tokens: int
    need: tuple[int, ...]
    """By unit."""
    own: tuple[int, ...]

    def own_now(self, unit: int, values: Values, kind: Kind) -> int:
        """The part of what is held in the current period that is the request's own."""
        if self.hold is None or kind.end < 0:
            return self.own[unit]
        counts = kind.unit != REQUESTS and self.hold.at_ms // 1000 >= starts_at_s(values, kind)
        return self.own[unit] if counts else 0


class _Use(Struct, gc=False):
    """A limit as the request finds it."""

    scope: ScopeUse
    limit: Limit
    values: Values | None
    spent: int
    others: int
    """Held by other requests."""
    need: int


class _Check(Struct):
    """The hard limits that apply to a request, compared with it."""

    unbounded: bool
    """None of them is on tokens or money."""

    short: list[_Use]
    """Those without room for it."""
    requests: _Use | None
    """The one with the fewest requests left."""
    tokens: _Use | None


def scopes_of(
    book: Book, compiled: CompiledPolicies, policies: Policies, request: HoldRequest
) -> list[ScopeUse]:
    """The scopes whose limits apply to a request."""
    use, account = book.use_of(request.account), request.account
    total = use.total if use is not None else None
    of_class = use.classes.get(request.traffic) if use is not None else None
    if book.system:
        return [ScopeUse("system", "", "", compiled.of(policies.system()), total, of_class)]
    found = [ScopeUse("account", account, "", compiled.of(policies.account(account)), total, of_class)]
    if request.user:
        user = use.users.get(request.user) if use is not None else None
        limits = compiled.of(policies.user(account, request.user))
        found.append(ScopeUse("user", account, request.user, limits, user, None))
    if request.key:
        key = use.keys.get(request.key) if use is not None else None
        limits = compiled.of(policies.key(account, request.key))
        found.append(ScopeUse("key", account, request.key, limits, key, None))
    return found


def asked_by(book: Book, request: HoldRequest) -> Asked:
    hold = book.holds.get(request.id)
    ended = book.ended.get(request.id) if request.raises else None
    known = hold if hold is not None else ended
    picousd, tokens = amount(request.picousd), token_count(request.tokens)
    if hold is not None:
        picousd, tokens = max(picousd, hold.picousd), max(tokens, hold.tokens)
    spent_picousd, spent_tokens = (known.spent_picousd, known.spent_tokens) if known is not None else (0, 0)
    return Asked(
        hold=hold,
        picousd=picousd,
        tokens=tokens,
        need=(0 if known else 1, max(0, tokens - spent_tokens), max(0, picousd - spent_picousd), 1),
        own=(0, hold.held_tokens(), hold.held_picousd(), 1) if hold is not None else (0, 0, 0, 0),
    )


def decide(
    book: Book, compiled: CompiledPolicies, policies: Policies, request: HoldRequest, now_ms: int
) -> Decision:
    now_ms = max(now_ms, book.last_ms)
    time_zone = policies.time_zone("" if book.system else request.account)
    scopes = scopes_of(book, compiled, policies, request)
    asked = asked_by(book, request)
    hold = asked.hold
    if hold is not None and asked.picousd == hold.picousd and asked.tokens == hold.tokens:
        later = request.deadline_ms > hold.deadline_ms
        entry = _held(request, asked, hold.at_ms, hold.time_zone) if later else None
        check = _checked(scopes, asked, request, now_ms // 1000)
        return Grant(entry, _granted(book, request, check, now_ms, time_zone))
    refusal = _refused_by_policy(scopes, policies, request)
    if refusal is not None:
        return refusal
    check = _checked(scopes, asked, request, now_ms // 1000)
    if check.short:
        return _refused_by_limits(book, request, check.short, now_ms, time_zone)
    entry = _held(request, asked, now_ms, time_zone)
    return Grant(entry, _granted(book, request, check, now_ms, time_zone))


def _held(request: HoldRequest, asked: Asked, at_ms: int, time_zone: str) -> Held:
    hold = asked.hold
    return Held(
        id=request.id,
        account=request.account,
        user=request.user,
        key=request.key,
        traffic=request.traffic,
        role=request.role,
        picousd=asked.picousd,
        tokens=asked.tokens,
        at_ms=at_ms,
        deadline_ms=request.deadline_ms if hold is None else max(request.deadline_ms, hold.deadline_ms),
        time_zone=time_zone,
        raises=request.raises,
    )


def _checked(scopes: list[ScopeUse], asked: Asked, request: HoldRequest, now_s: int) -> _Check:
    """A limit to which the request adds nothing has no effect on it, even if it is used up."""
    unbounded = not any(request.traffic in scope.limits.bounded for scope in scopes)
    check, fewest = _Check(unbounded, [], None, None), [_MOST, _MOST]
    needs, is_raise = asked.need, asked.hold is not None
    for scope in scopes:
        total, of_class = scope.total, scope.of_class
        for limit, by_class, unit, end, spent_at, held_at, allowed in scope.limits.hard[request.traffic]:
            values = of_class if by_class else total
            need, own = needs[unit], 0
            if values is None or (end >= 0 and now_s >= values[end]):
                spent = others = 0
            else:
                own = asked.own_now(unit, values, limit.kind) if is_raise else 0
                spent, others = values[spent_at], values[held_at] - own
            left = allowed - spent - others - need
            if left < 0 and need > own:
                check.short.append(_Use(scope, limit, values, spent, others, need))
            elif unit <= TOKENS and left < fewest[unit]:
                fewest[unit] = left
                use = _Use(scope, limit, values, spent, others, need)
                if unit == REQUESTS:
                    check.requests = use
                else:
                    check.tokens = use
    return check


def _granted(book: Book, request: HoldRequest, check: _Check, now_ms: int, time_zone: str) -> HoldGranted:
    requests, tokens = check.requests, check.tokens
    return HoldGranted(
        id=request.id,
        requests=None if requests is None else _after(book, requests, now_ms, time_zone),
        tokens=None if tokens is None else _after(book, tokens, now_ms, time_zone),
        unbounded=check.unbounded,
    )


def _after(book: Book, use: _Use, now_ms: int, time_zone: str) -> LimitStatus:
    """The limit once the request is reserved."""
    if use.limit.kind.unit == REQUESTS:
        amounts = use.spent + use.need, use.others
    else:
        amounts = use.spent, use.others + use.need
    return _status(book, use, amounts, now_ms, time_zone)


def _status(book: Book, use: _Use, amounts: tuple[int, int], now_ms: int, time_zone: str) -> LimitStatus:
    resets_s = ends_at_s(use.values, use.limit.kind, now_ms // 1000, time_zone, book.calendar)
    return status_of(use.scope.scope, use.limit, amounts, resets_s * 1000)


def _refused_by_policy(
    scopes: list[ScopeUse], policies: Policies, request: HoldRequest
) -> HoldRefused | None:
    refuses_unpriced = bool(request.unpriced) and policies.when_price_unknown == "refuse"
    for scope in scopes:
        limits = scope.limits
        if limits.policy.disabled:
            return refusals.disabled(request, _whose(scope))
        for limit in limits.output_tokens:
            applies = not limit.soft and limit.traffic in (None, request.traffic)
            if applies and request.output_tokens > limit.allowed:
                return refusals.too_many_output_tokens(request, _whose(scope), scope.scope, limit)
        if refuses_unpriced and limits.limits_money_of(request.traffic):
            return refusals.unpriced(request, _whose(scope))
    return None


def _whose(scope: ScopeUse) -> str:
    return refusals.whose(scope.scope, scope.account, scope.name)


def _refused_by_limits(
    book: Book, request: HoldRequest, short: list[_Use], now_ms: int, time_zone: str
) -> Decision:
    """The limit that frees last is the one to tell; one that needs more than all it allows never frees."""
    spent = [each for each in short if each.spent + each.need > each.limit.allowed]

    def frees_s(use: _Use) -> float:
        if use.need > use.limit.allowed:
            return float("inf")
        return ends_at_s(use.values, use.limit.kind, now_ms // 1000, time_zone, book.calendar)

    worst = max(spent or short, key=frees_s)
    status = _status(book, worst, (worst.spent, worst.others), now_ms, time_zone)
    problem = refusals.Problem(
        whose=_whose(worst.scope),
        limit=worst.limit,
        status=status,
        spent=worst.spent,
        held=worst.others,
        need=worst.need,
        time_zone=time_zone,
    )
    return (
        refusals.used_up(request, problem, now_ms)
        if spent
        else Wait(refusals.held_by_others(request, problem))
    )
