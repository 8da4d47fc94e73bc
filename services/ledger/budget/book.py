"""The data of the budget state, and how journal entries change it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from penstock.contract.ledger.journal import Alerted, Held, JournalEntry, Released, Settled, TookOver
from penstock.contract.ledger.policies import Scope, TrafficClass
from services.ledger.budget.counters import (
    KINDS,
    Change,
    Values,
    in_use,
    mark_alerted,
    new_values,
    record,
    starts_at_s,
)
from services.ledger.budget.holds import DueIds, EndedHold, Hold, with_attempt
from services.ledger.budget.periods import Calendar

__all__ = ["AccountUse", "Book"]

_LATE_MS: Final = 120_000
"""Milliseconds after its deadline for which an ended hold is kept, because usage of a lost attempt comes late."""
_UNHELD_MS: Final = 3_600_000
"""Milliseconds for which attempts that were booked without a hold are kept."""
_DAY_MS: Final = 86_400_000


class AccountUse(Struct):
    """The use of one account; in the partition of the whole system, of everything."""

    total: Values = field(default_factory=new_values)
    classes: dict[TrafficClass, Values] = field(default_factory=dict)
    users: dict[str, Values] = field(default_factory=dict)
    keys: dict[str, Values] = field(default_factory=dict)


class Book:
    """Counters and holds. Only `apply` changes them, and its result depends on nothing but the entries."""

    def __init__(self, *, system: bool) -> None:
        self.system = system
        self.last_ms = 0
        self.accounts: dict[str, AccountUse] = {}
        self.holds: dict[str, Hold] = {}
        self.ended: dict[str, EndedHold] = {}
        self.deadlines = DueIds()
        self.calendar = Calendar()
        self._forgetting = DueIds()

    def apply(self, entry: JournalEntry) -> None:
        """Change the data by one entry; what is due is forgotten after it, because its decision knew it."""
        before_ms, self.last_ms = self.last_ms, max(self.last_ms, entry.at_ms)
        match entry:
            case Held():
                self._hold(entry)
            case Settled():
                self._settle(entry)
            case Released():
                self._release(entry)
            case Alerted():
                self._alert(entry)
            case TookOver():
                pass
        if self.last_ms > before_ms:
            self._forget(before_ms)

    def keep(self, hold_id: str, hold: Hold) -> None:
        self.holds[hold_id] = hold
        self.deadlines.add(hold_id, hold.deadline_ms)

    def keep_ended(self, hold_id: str, ended: EndedHold) -> None:
        self.ended[hold_id] = ended
        self._forgetting.add(hold_id, ended.until_ms)

    def use_of(self, account: str) -> AccountUse | None:
        return self.accounts.get("" if self.system else account)

    def values_of(
        self, scope: Scope, account: str, name: str, traffic: TrafficClass | None = None
    ) -> Values | None:
        """The counters of one scope, for all its traffic or for one class; None: nothing is counted there."""
        use = self.use_of(account)
        if use is None or (scope == "system") != self.system:
            return None
        if traffic is not None:
            return use.classes.get(traffic) if scope in ("system", "account") else None
        if scope == "user":
            return use.users.get(name)
        return use.keys.get(name) if scope == "key" else use.total

    def _forget(self, before_ms: int) -> None:
        """Drop ended holds that are due and, once a day, counters that are not in use."""
        for hold_id in self._forgetting.take(self.last_ms):
            ended = self.ended.get(hold_id)
            if ended is not None and ended.until_ms <= self.last_ms:
                del self.ended[hold_id]
        if self.last_ms // _DAY_MS != before_ms // _DAY_MS:
            self._forget_unused(self.last_ms // 1000)

    def _forget_unused(self, now_s: int) -> None:
        """Drop the counters of scopes whose periods are all over."""
        for use in self.accounts.values():
            use.users = {name: values for name, values in use.users.items() if in_use(values, now_s)}
            use.keys = {name: values for name, values in use.keys.items() if in_use(values, now_s)}
        self.accounts = {
            name: use
            for name, use in self.accounts.items()
            if use.users or use.keys or in_use(use.total, now_s)
        }

    def _hold(self, entry: Held) -> None:
        known: Hold | EndedHold | None = self.holds.get(entry.id)
        if isinstance(known, Hold):
            self._record(known, _release_of(known), known.at_ms)
        else:
            ended = self.ended.pop(entry.id, None)
            known = ended if entry.raises else None
        hold = Hold(
            account=entry.account,
            user=entry.user,
            key=entry.key,
            traffic=entry.traffic,
            role=entry.role,
            picousd=entry.picousd,
            tokens=entry.tokens,
            at_ms=entry.at_ms,
            deadline_ms=entry.deadline_ms,
            time_zone=entry.time_zone,
        )
        if known is not None:
            hold.spent_picousd, hold.spent_tokens = known.spent_picousd, known.spent_tokens
            hold.attempts = known.attempts
        self.keep(entry.id, hold)
        change = Change(
            requests=1 if known is None else 0,
            held_tokens=hold.held_tokens(),
            held_picousd=hold.held_picousd(),
            opened=1,
        )
        self._record(hold, change, entry.at_ms)

    def _settle(self, entry: Settled) -> None:
        hold = self.holds.get(entry.id)
        if hold is None:
            self._settle_ended(entry)
        elif entry.attempt not in hold.attempts:
            before = hold.held_tokens(), hold.held_picousd()
            tokens = entry.input_tokens + entry.output_tokens
            hold.spent_tokens += tokens
            hold.spent_picousd += entry.picousd
            hold.attempts = with_attempt(hold.attempts, entry.attempt)
            after = (0, 0) if entry.ends else (hold.held_tokens(), hold.held_picousd())
            change = Change(
                tokens=tokens,
                held_tokens=after[0] - before[0],
                picousd=entry.picousd,
                held_picousd=after[1] - before[1],
                opened=-1 if entry.ends else 0,
            )
            self._record(hold, change, hold.at_ms)
            if entry.ends:
                self._end(entry.id, hold)

    def _settle_ended(self, entry: Settled) -> None:
        ended = self.ended.get(entry.id)
        if ended is None:
            until_ms = self.last_ms + _UNHELD_MS
            ended = EndedHold(until_ms, entry.at_ms, entry.time_zone, entry.traffic, 0, 0, ())
            self.keep_ended(entry.id, ended)
        elif entry.attempt in ended.attempts:
            return
        tokens = entry.input_tokens + entry.output_tokens
        ended.spent_tokens += tokens
        ended.spent_picousd += entry.picousd
        ended.attempts = with_attempt(ended.attempts, entry.attempt)
        self._record(entry, Change(tokens=tokens, picousd=entry.picousd), entry.at_ms)

    def _release(self, entry: Released) -> None:
        hold = self.holds.get(entry.id)
        if hold is not None:
            self._record(hold, _release_of(hold), hold.at_ms)
            self._end(entry.id, hold)

    def _end(self, hold_id: str, hold: Hold) -> None:
        del self.holds[hold_id]
        ended = EndedHold(
            until_ms=max(hold.deadline_ms, self.last_ms) + _LATE_MS,
            at_ms=hold.at_ms,
            time_zone=hold.time_zone,
            traffic=hold.traffic,
            spent_picousd=hold.spent_picousd,
            spent_tokens=hold.spent_tokens,
            attempts=hold.attempts,
        )
        self.keep_ended(hold_id, ended)

    def _alert(self, entry: Alerted) -> None:
        values = self.values_of(entry.scope, entry.account, entry.name, entry.traffic)
        kind = KINDS[entry.limit]
        if values is not None and starts_at_s(values, kind) == entry.period_start_s:
            mark_alerted(values, kind, entry.percent)

    def _record(self, whose: Hold | Settled, change: Change, at_ms: int) -> None:
        """Count a change for the account and the class, the user and the key that a hold or an attempt names."""
        account = "" if self.system else whose.account
        use = self.accounts.get(account)
        if use is None:
            use = self.accounts[account] = AccountUse()
        at_s, zone = at_ms // 1000, whose.time_zone
        use.total = self._recorded(use.total, change, at_s, zone)
        classes, traffic = use.classes, whose.traffic
        classes[traffic] = self._recorded(classes.get(traffic), change, at_s, zone)
        if self.system:
            return
        if whose.user:
            use.users[whose.user] = self._recorded(use.users.get(whose.user), change, at_s, zone)
        if whose.key:
            use.keys[whose.key] = self._recorded(use.keys.get(whose.key), change, at_s, zone)

    def _recorded(self, values: Values | None, change: Change, at_s: int, time_zone: str) -> Values:
        if values is None:
            values = new_values()
        return record(values, change, at_s, time_zone, self.calendar)


def _release_of(hold: Hold) -> Change:
    return Change(held_tokens=-hold.held_tokens(), held_picousd=-hold.held_picousd(), opened=-1)
