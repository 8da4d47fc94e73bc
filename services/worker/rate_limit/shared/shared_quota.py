"""The limits as all workers share them: `Quota` over leases from the record in `llm_quota` (REQUIREMENTS C1, C4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Final

from penstock.bus.clock import SYSTEM, loop_now_s
from penstock.contract.quota import QuotaLearned
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.batch_reserve import BatchTurn
from services.worker.rate_limit.forecast import Outlook
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.limit_set import LimitName, LimitUse
from services.worker.rate_limit.quota import Denied, LocalQuota, Need, Permit, QuotaKey
from services.worker.rate_limit.record.accounting import Book
from services.worker.rate_limit.record.lease_settings import LEARNING_TERMS, TERMS, Amounts, Terms
from services.worker.rate_limit.shared.cas_writer import News
from services.worker.rate_limit.shared.renewer import Keeper
from services.worker.rate_limit.shared.shared_cooldowns import SharedPauses
from services.worker.rate_limit.shared.store_protocol import Records, Stored

__all__ = ["SharedQuota"]

_SOON_S: Final = 0.25
"""A lease comes within milliseconds; who still has none after this long looks at the whole chain again."""


_GIVE_BACK_S: Final = 2.0
"""An exit waits no longer for a JetStream that is away; docs/configuration.md adds up what an exit may take."""


class SharedQuota:
    """Implements `Quota`. A permit is spent from what was leased before: no network on the way of a request.

    What has no limit of ours needs no lease; only its pauses are shared, until a limit is learnt.
    """

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str],
        holder: str,
        random: Callable[[], float],
        terms: Terms = TERMS,
        *,
        batch: Batch,
    ) -> None:
        """`records`: the record of each key; keys of one quota group have one. `holder`: the worker's instance.

        `batch`: what that lane leaves to the other one.
        """
        self._records = records
        unlimited = [key for key, each in limits.items() if each.is_unlimited]
        self._unlimited = LocalQuota(
            {key: limits[key] for key in unlimited},
            {key: records[key] for key in unlimited},
            batch=batch,
            number_step=-1,
        )
        """Of these it gives permits below 1, and a keeper those above."""
        self._pauses = SharedPauses(self._paused_elsewhere, self._learnt_elsewhere, SYSTEM)
        self._holder, self._random, self._batch = holder, random, batch
        self._store: Records | None = None
        self._on_grant: Callable[[], None] = lambda: None
        self._queued: Callable[[frozenset[str]], Mapping[str, int]] | None = None
        self._paused = frozenset(records[key] for key in unlimited)
        self._keepers: dict[QuotaKey, Keeper | None] = dict.fromkeys(unlimited)
        self._by_record: dict[str, Keeper] = {}
        self._turns: dict[str, BatchTurn] = {}
        self._lines: dict[int, set[Keeper]] = {}
        """Where each request that was refused may stand in line."""
        for key in limits.keys() - self._keepers.keys():
            name = records[key]
            if name not in self._by_record:
                self._by_record[name] = Keeper(name, holder, Book(limits[key], terms, batch.reserve), random)
                self._turns[name] = BatchTurn(batch)
            self._keepers[key] = self._by_record[name]

    async def start(self, records: Records, on_grant: Callable[[], None]) -> None:
        """Join every record, in the background. `on_grant`: called when those who wait should ask again."""
        self._store, self._on_grant = records, on_grant
        for keeper in self._by_record.values():
            keeper.on_grant = on_grant
            keeper.start(records)
        await self._pauses.start(records, self._paused)

    async def stop(self, within_s: float = _GIVE_BACK_S) -> None:
        """Give back what is leased; what JetStream does not take in time counts as spent when the lease ends."""
        await asyncio.gather(
            self._pauses.stop(), *(keeper.stop(within_s) for keeper in self._by_record.values())
        )

    def stands_for(self, queued: Callable[[frozenset[str]], Mapping[str, int]]) -> None:
        """`queued`: how many requests wait, by mailbox, in those that live on any of some models."""
        self._queued = queued
        models: dict[Keeper, set[str]] = {}
        for key, keeper in self._keepers.items():
            if keeper is not None:
                models.setdefault(keeper, set()).add(key.model)
        for keeper, names in models.items():
            keeper.stands_for(partial(queued, frozenset(names)))

    def heard(self, record: str, stored: Stored) -> None:
        """An entry was stored, by whomever."""
        keeper = self._by_record.get(record)
        if keeper is not None:
            keeper.heard(stored)
        elif record in self._paused:
            self._pauses.heard(record, stored)

    def _learnt_elsewhere(self, record: str) -> None:
        """What was called here until now adds up with what the others called, where it was refused here too."""
        now_s = loop_now_s()
        for key in [key for key, keeper in self._keepers.items() if keeper is None]:
            if (
                self._records[key] == record
                and (found := self._unlimited.last_refusal(key, now_s)) is not None
            ):
                keeper = self._learn(record)
                if keeper is not None:
                    keeper.refused(News(now_s, found[0], None, None, found[1]))
        self._learn(record)

    def _learn(self, record: str) -> Keeper | None:
        """A provider refuses more than some rate, which all workers learn and share from now on."""
        if self._store is None or record in self._by_record:
            return self._by_record.get(record)
        book = Book(Limits(), LEARNING_TERMS, self._batch.reserve, learns=True)
        keeper = self._by_record[record] = Keeper(record, self._holder, book, self._random)
        self._turns[record] = BatchTurn(self._batch)
        models = set()
        for key in self._keepers:
            if self._records[key] == record:
                self._keepers[key] = keeper
                self._unlimited.learnt_elsewhere(key)
                models.add(key.model)
        if self._queued is not None:
            keeper.stands_for(partial(self._queued, frozenset(models)))
        keeper.on_grant = self._on_grant
        keeper.start(self._store)
        return keeper

    def _keeper(self, key: QuotaKey, now_s: float) -> Keeper | None:
        """Who keeps its limits; None: it has none, or none any longer."""
        keeper = self._keepers[key]
        return keeper if keeper is None or keeper.holds_back(now_s) else None

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """The records out of reach, whose static share is used."""
        return tuple(name for name, keeper in self._by_record.items() if keeper.desk.alone is not None)

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        keeper = self._keepers[key]
        if keeper is None or not keeper.holds_back(now_s):
            return self._unlimited.try_acquire(key, need, now_s)
        need = keeper.capped(need)
        reserve = self._turns[keeper.key].reserve(now_s) if need.lane == "batch" else 0.0
        spared = self._behind_reserve(keeper, need.tokens, now_s) if reserve else None
        if spared is None and keeper.gate.wait_s(now_s) == 0:
            number = keeper.desk.acquire(need.tokens, now_s, reserve, need.asker)
            if number is not None:
                keeper.gate.went(number, now_s)
                if need.lane == "batch":
                    self._turns[keeper.key].went(now_s)
                return Permit(key, need.tokens, number)
        return self._denied(keeper, need, spared, now_s)

    def withdraw(self, asker: int) -> None:
        for keeper in self._lines.pop(asker, ()):
            keeper.withdraw(asker)

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        keeper = self._keeper(key, now_s)
        if keeper is None:
            return self._unlimited.wait_s(key, need, now_s)
        need = keeper.capped(need)
        spared = None
        if need.lane == "batch" and self._turns[keeper.key].reserve(now_s):
            spared = self._behind_reserve(keeper, need.tokens, now_s)
        if spared is None and keeper.gate.wait_s(now_s) == 0 and keeper.desk.has(need.tokens, now_s):
            return 0.0
        found = _obstacle(keeper, need, now_s)
        return max(0.0 if wait is None else wait[0] for wait in (spared, found))

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        keeper = self._keepers[permit.key]
        if keeper is None or permit.number <= 0:
            self._unlimited.settle(permit, true_tokens, now_s)
            return
        desk = keeper.desk
        had_news = desk.has_news
        desk.settle(permit.number, true_tokens, now_s)
        if desk.has_news and not had_news:
            keeper.look_again()
        keeper.gate.ended(permit.number, true_tokens)
        if desk.demand.first is not None or keeper.view.others_wait:
            keeper.poke()

    def pause(self, key: QuotaKey, until_s: float, why: str) -> None:
        keeper = self._keepers[key]
        if keeper is None or keeper.book.learns:
            self._paused_elsewhere(self._records[key], until_s, why)
        if keeper is None:
            self._pauses.pause(self._records[key], until_s, why)
        else:
            keeper.pause(until_s, why)

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        keeper = self._keepers[key]
        if keeper is not None and not keeper.book.learns:
            return
        refusal = self._unlimited.refusal(key, retry_after_s, began_s, now_s)
        if keeper is not None and keeper.learned(now_s) is not None:
            self._unlimited.learnt_elsewhere(key)
        elif refusal.estimate is None or not refusal.teaches or (keeper and keeper.dropped(now_s)):
            return
        keeper = keeper or self._learn(self._records[key])
        if keeper is not None:
            keeper.refused(News(now_s, began_s, retry_after_s, refusal.estimate, refusal.counted))

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        keeper = self._keepers[key]
        return None if keeper is None or not keeper.book.learns else keeper.learned(now_s)

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        keeper = self._keepers[key]
        if keeper is None or keeper.book.learns:
            self._unlimited.correct(key, observation, now_s)
        if keeper is not None:
            keeper.correct(observation, now_s)

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        keeper = self._keepers[key]
        if keeper is None or keeper.book.learns:
            return ()
        return keeper.view.usage(now_s) if keeper.desk.alone is None else keeper.desk.alone.usage(now_s)

    def outlook(self, key: QuotaKey, now_s: float) -> Outlook:
        keeper = self._keeper(key, now_s)
        if keeper is None:
            return self._unlimited.outlook(key, now_s)
        if keeper.desk.alone is not None:
            return keeper.desk.alone.outlook(now_s)
        return Outlook(
            recoveries=keeper.view.recoveries(keeper.desk.untold, now_s),
            paused_s=keeper.gate.wait_s(now_s),
            concurrency=keeper.book.limits.concurrency,
            source=keeper.key,
        )

    def obstacle(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        keeper = self._keepers[key]
        if keeper is None or keeper.book.learns:
            return None
        if keeper.gate.wait_s(now_s) == 0 and keeper.desk.has(need.tokens, now_s):
            return None
        found = _obstacle(keeper, need, now_s)
        return None if found is None or found[1] == "paused" else found[1]

    def record(self, key: QuotaKey) -> str:
        keeper = self._keepers[key]
        return "" if keeper is None or keeper.book.learns else self._records[key]

    def _paused_elsewhere(self, record: str, until_s: float, why: str) -> None:
        for key, keeper in self._keepers.items():
            if (keeper is None or keeper.book.learns) and self._records[key] == record:
                self._unlimited.pause(key, until_s, why)

    def _behind_reserve(self, keeper: Keeper, tokens: int, now_s: float) -> tuple[float, LimitName] | None:
        """How long until a batch request leaves enough to the others, and of what; None: it does now."""
        desk, view = keeper.desk, keeper.view
        if desk.alone is None:
            own, untold = keeper.need(tokens), desk.untold
            whole = Amounts(own.requests + untold.requests, own.tokens + untold.tokens, own.slots)
            found = view.wait_s(whole, now_s, sparing=True)
            if found is None:
                return None
            wait_s, limit = found
        else:
            if desk.alone.has_room(tokens, now_s, keeper.book.batch_reserve):
                return None
            at_s, limit = desk.alone.obstacle(tokens, now_s, keeper.book.batch_reserve)
            wait_s = at_s - now_s
        return max(0.0, min(wait_s, self._turns[keeper.key].due_at_s(now_s) - now_s)), limit

    def _denied(
        self, keeper: Keeper, need: Need, spared: tuple[float, LimitName] | None, now_s: float
    ) -> Denied:
        found = _obstacle(keeper, need, now_s)
        if found is not None and found[0] == inf:
            return Denied(inf, found[1], never=True)
        if spared is not None:
            # It asks for no lease: what it may not use shall not be kept from the others either.
            keeper.withdraw(need.asker)
            wait_s, limit = spared if found is None else max(spared, found)
            return Denied(now_s + wait_s, limit)
        if found is None:
            self._stand_in_line(keeper, need, now_s)
            return Denied(now_s + _SOON_S, "requests_per_minute", leasing=True)
        wait_s, limit = found
        if limit != "paused":
            self._stand_in_line(keeper, need, now_s)
        return Denied(now_s + wait_s, limit, why=keeper.gate.why if limit == "paused" else "")

    def _stand_in_line(self, keeper: Keeper, need: Need, now_s: float) -> None:
        spares = need.lane == "batch" and self._turns[keeper.key].reserve(now_s) > 0
        self._lines.setdefault(need.asker, set()).add(keeper)
        keeper.desk.demand.refused(need.tokens, now_s, need.asker, spares=spares)
        keeper.poke()


def _obstacle(keeper: Keeper, need: Need, now_s: float) -> tuple[float, LimitName] | None:
    """How long until a request may be let through, and what keeps it; None: nothing we know of."""
    tokens = need.tokens
    if keeper.book.counts_tokens and tokens > keeper.book.largest_tokens:
        return inf, "tokens_per_minute"
    closed_s = keeper.gate.wait_s(now_s)
    if closed_s > 0:
        return closed_s, "paused"
    if keeper.desk.alone is not None:
        if keeper.desk.alone.has_room(tokens, now_s):
            return None
        at_s, limit = keeper.desk.alone.obstacle(tokens, now_s)
        return (_SOON_S if at_s == inf else max(0.0, at_s - now_s)), limit
    whole, before = keeper.need(tokens), keeper.desk.demand.before(need.asker)
    if before is not None:
        # No lease comes for it before the one for whom this worker stands in line has its own.
        first = keeper.need(before)
        whole = Amounts(whole.requests + first.requests, whole.tokens + first.tokens, whole.slots + 1)
    return keeper.view.wait_s(whole, now_s)
