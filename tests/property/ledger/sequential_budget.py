"""A budget computed the slow way: every hold and every attempt is kept, and each question adds them up again."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.policies import LIMIT_NAMES, BudgetPolicy, LimitName, Scope, TrafficClass
from tests.harness.requests.budget_requests import FixedPolicies

__all__ = ["Attempt", "ScopeName", "SequentialBudget"]

LATE_MS, UNHELD_MS = 120_000, 3_600_000
COUNTED = tuple(name for name in LIMIT_NAMES if name != "tokens_per_request")
ScopeName = tuple[Scope, str, TrafficClass | None]


class Attempt(Struct, frozen=True):
    """A booked attempt."""

    request: HoldRequest
    at_ms: int
    tokens: int
    picousd: int


class OpenHold(Struct):
    request: HoldRequest
    picousd: int
    tokens: int
    at_ms: int
    deadline_ms: int


class SequentialBudget(Struct):
    """The reference that `BudgetState` is compared with."""

    zone: ZoneInfo
    open: dict[str, OpenHold] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    counted: list[tuple[HoldRequest, int]] = field(default_factory=list)
    """Requests, and when they counted."""
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Until when ended holds are known, and when they counted."""
    forgotten: list[Attempt] = field(default_factory=list)
    last_ms: int = 0

    def advance(self, at_ms: int) -> None:
        self.last_ms = max(self.last_ms, at_ms)
        for hold_id, (until_ms, _) in list(self.ended.items()):
            if -(-until_ms // 1000) * 1000 <= self.last_ms:
                del self.ended[hold_id]
                self.forget_attempts(hold_id)

    def forget_attempts(self, hold_id: str) -> None:
        """The id now belongs to another request; what the earlier one used stays spent."""
        for key in [key for key in self.attempts if key[0] == hold_id]:
            self.forgotten.append(self.attempts.pop(key))

    def spent_on(self, hold_id: str) -> tuple[int, int]:
        booked = [attempt for (owner, _), attempt in self.attempts.items() if owner == hold_id]
        return sum(each.picousd for each in booked), sum(each.tokens for each in booked)

    def left_of(self, hold_id: str) -> tuple[int, int]:
        hold, (picousd, tokens) = self.open[hold_id], self.spent_on(hold_id)
        return max(0, hold.picousd - picousd), max(0, hold.tokens - tokens)

    def period(self, name: LimitName, at_ms: int) -> object:
        """Something that differs between two periods of a limit."""
        local = datetime.fromtimestamp(at_ms // 1000, self.zone)
        unit = name.rpartition("_")[2]
        return {
            "second": at_ms // 1000,
            "minute": at_ms // 60_000,
            "hour": (local.date(), local.hour, local.utcoffset()),
            "day": local.date(),
            "month": (local.year, local.month),
        }.get(unit)

    def use(self, scope: ScopeName, name: LimitName, now_ms: int, *, without: str = "") -> tuple[int, int]:
        """Spent and held of a scope in the current period, the hold `without` left out."""

        def counts(request: HoldRequest, at_ms: int) -> bool:
            return is_of(request, scope) and self.period(name, at_ms) == self.period(name, now_ms)

        if name == "concurrency":
            return 0, sum(is_of(hold.request, scope) for id_, hold in self.open.items() if id_ != without)
        if name.startswith("requests"):
            return sum(counts(request, at_ms) for request, at_ms in self.counted), 0
        index = 0 if name.startswith("microusd") else 1
        booked = [*self.attempts.values(), *self.forgotten]
        spent = sum((each.picousd, each.tokens)[index] for each in booked if counts(each.request, each.at_ms))
        held = sum(
            self.left_of(id_)[index]
            for id_, hold in self.open.items()
            if id_ != without and counts(hold.request, hold.at_ms)
        )
        return spent, held

    def decide(self, request: HoldRequest, policies: FixedPolicies, now_ms: int) -> str:
        """`refused`, `wait` or `granted`."""
        hold = self.open.get(request.id)
        if hold is not None and request.picousd <= hold.picousd and request.tokens <= hold.tokens:
            return "granted"
        goes_on = hold is not None or (request.raises and request.id in self.ended)
        spent_picousd, spent_tokens = self.spent_on(request.id) if goes_on else (0, 0)
        picousd = max(request.picousd, hold.picousd if hold else 0) - spent_picousd
        tokens = max(request.tokens, hold.tokens if hold else 0) - spent_tokens
        found = set()
        for scope, policy in scopes(request, policies):
            for name in COUNTED:
                allowed = allowed_by(policy, scope[2], name)
                if allowed is None or name in policy.soft:
                    continue
                need = picousd if name.startswith("microusd") else tokens
                need = {"requests": int(not goes_on), "concurrency": 1}.get(name.split("_")[0], max(0, need))
                spent, held = self.use(scope, name, now_ms, without=request.id)
                own = self.use(scope, name, now_ms)[1] - held
                if need > own and spent + held + need > allowed:
                    found.add("wait" if spent + need <= allowed else "refused")
        return "refused" if "refused" in found else "wait" if found else "granted"


def allowed_by(policy: BudgetPolicy, traffic: TrafficClass | None, name: LimitName) -> int | None:
    """In picodollars, tokens or requests."""
    limits = policy.limits if traffic is None else getattr(policy, traffic)
    allowed = None if limits is None else getattr(limits, name)
    return allowed * 1_000_000 if allowed is not None and name.startswith("microusd") else allowed


def scopes(request: HoldRequest, policies: FixedPolicies) -> list[tuple[ScopeName, BudgetPolicy]]:
    found: list[tuple[ScopeName, BudgetPolicy]] = [
        (("account", request.account, None), policies.of_account),
        (("account", request.account, request.traffic), policies.of_account),
    ]
    if request.user:
        found.append((("user", request.user, None), policies.of_user))
    if request.key:
        found.append((("key", request.key, None), policies.of_key))
    return found


def is_of(request: HoldRequest, scope: ScopeName) -> bool:
    kind, name, traffic = scope
    owner = {"account": request.account, "user": request.user, "key": request.key}[kind]
    return owner == name and traffic in (None, request.traffic)
