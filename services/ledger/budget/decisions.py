"""The decision on a hold: granted, refused, or waiting for what other requests hold."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.journal import Held
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import Scope
from services.ledger.budget import refusals
from services.ledger.budget.book import Book
from services.ledger.budget.counters import Kind, Unit, Values, ends_at_s, starts_at_s
from services.ledger.budget.holds import Hold, amount
from services.ledger.budget.limits import CompiledPolicies, Limit, PolicyLimits, status_of, used
from services.ledger.budget.policies import Policies

__all__ = ["Asked", "Grant", "ScopeUse", "Wait", "asked_by", "decide", "scopes_of"]


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
    need: dict[Unit, int]
    own: dict[Unit, int]

    def own_now(self, values: Values | None, kind: Kind) -> int:
        """The part of what is held in the current period that is the request's own."""
        own = self.own[kind.unit]
        if not own or self.hold is None or values is None or kind.end < 0:
            return own
        return own if self.hold.at_ms // 1000 >= starts_at_s(values, kind) else 0


class _Tight(Struct):
    """A limit as the request finds it."""

    scope: ScopeUse
    limit: Limit
    values: Values | None
    spent: int
    others: int
    """Held by other requests."""
    need: int

    def left(self) -> int:
        return self.limit.allowed - self.spent - self.others - self.need


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
    known = hold if hold is not None else book.ended.get(request.id)
    picousd, tokens = amount(request.picousd), amount(request.tokens)
    if hold is not None:
        picousd, tokens = max(picousd, hold.picousd), max(tokens, hold.tokens)
    spent_picousd, spent_tokens = (known.spent_picousd, known.spent_tokens) if known is not None else (0, 0)
    return Asked(
        hold=hold,
        picousd=picousd,
        tokens=tokens,
        need={
            "requests": 1 if known is None else 0,
            "tokens": max(0, tokens - spent_tokens),
            "money": max(0, picousd - spent_picousd),
            "open": 1,
        },
        own={
            "requests": 0,
            "tokens": hold.held_tokens() if hold is not None else 0,
            "money": hold.held_picousd() if hold is not None else 0,
            "open": 1 if hold is not None else 0,
        },
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
        found = _found(scopes, asked, request, now_ms // 1000)
        later = request.deadline_ms > hold.deadline_ms
        entry = _held(request, asked, hold.at_ms, hold.time_zone) if later else None
        return Grant(entry, _granted(book, request, found, now_ms, time_zone))
    refusal = _refused_by_policy(scopes, policies, request)
    if refusal is not None:
        return refusal
    found = _found(scopes, asked, request, now_ms // 1000)
    short = [each for each in found if each.left() < 0 and _limits_growth(each, asked)]
    if short:
        return _refused_by_limits(book, request, short, now_ms, time_zone)
    entry = _held(request, asked, now_ms, time_zone)
    return Grant(entry, _granted(book, request, found, now_ms, time_zone))


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
    )


def _found(scopes: list[ScopeUse], asked: Asked, request: HoldRequest, now_s: int) -> list[_Tight]:
    """Every hard limit of the request as it is now."""
    found = []
    for scope in scopes:
        for limit in scope.limits.limits:
            if limit.soft or (limit.traffic is not None and limit.traffic != request.traffic):
                continue
            values = scope.total if limit.traffic is None else scope.of_class
            spent, held = used(values, limit.kind, now_s)
            others = held - asked.own_now(values, limit.kind) if held else 0
            found.append(_Tight(scope, limit, values, spent, others, asked.need[limit.kind.unit]))
    return found


def _limits_growth(tight: _Tight, asked: Asked) -> bool:
    """Whether the request wants more of this limit than it has: what it adds nothing to cannot refuse it."""
    return tight.need > asked.own_now(tight.values, tight.limit.kind)


def _granted(
    book: Book, request: HoldRequest, found: list[_Tight], now_ms: int, time_zone: str
) -> HoldGranted:
    fewest: dict[Unit, _Tight] = {}
    for each in found:
        unit = each.limit.kind.unit
        best = fewest.get(unit)
        if best is None or each.left() < best.left():
            fewest[unit] = each
    requests, tokens = fewest.get("requests"), fewest.get("tokens")
    return HoldGranted(
        id=request.id,
        requests=None if requests is None else _after(book, requests, now_ms, time_zone),
        tokens=None if tokens is None else _after(book, tokens, now_ms, time_zone),
    )


def _after(book: Book, tight: _Tight, now_ms: int, time_zone: str) -> LimitStatus:
    """The limit once the request is reserved."""
    if tight.limit.kind.unit == "requests":
        use = tight.spent + tight.need, tight.others
    else:
        use = tight.spent, tight.others + tight.need
    return _status(book, tight, use, now_ms, time_zone)


def _status(book: Book, tight: _Tight, use: tuple[int, int], now_ms: int, time_zone: str) -> LimitStatus:
    resets_s = ends_at_s(tight.values, tight.limit.kind, now_ms // 1000, time_zone, book.calendar)
    return status_of(tight.scope.scope, tight.limit, use, resets_s * 1000)


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
    book: Book, request: HoldRequest, short: list[_Tight], now_ms: int, time_zone: str
) -> Decision:
    """The limit that frees last is the one to tell; one that needs more than all it allows never frees."""
    spent = [each for each in short if each.spent + each.need > each.limit.allowed]

    def frees_s(tight: _Tight) -> float:
        if tight.need > tight.limit.allowed:
            return float("inf")
        return ends_at_s(tight.values, tight.limit.kind, now_ms // 1000, time_zone, book.calendar)

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
