"""The limits as all workers share them: `Quota` over leases from the record in `llm_quota` (REQUIREMENTS C1, C4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from penstock.config.catalogue import Limits
from services.worker.account import LimitName, LimitUse
from services.worker.lease_keeper import Keeper
from services.worker.lease_records import Records, Stored
from services.worker.lease_terms import TERMS, Terms
from services.worker.meter import Observation
from services.worker.quota import Denied, LocalQuota, Need, Permit, QuotaKey
from services.worker.recovery import Outlook

__all__ = ["SharedQuota"]

_SOON_S: Final = 0.25
"""A lease comes within milliseconds; who still has none after this long looks at the whole chain again."""


class SharedQuota:
    """Implements `Quota`. A permit is spent from what was leased before: no network on the way of a request.

    What has no limit of ours has no lease; a provider's pause of it is this process's own affair.
    """

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str],
        holder: str,
        random: Callable[[], float],
        terms: Terms = TERMS,
    ) -> None:
        """`records`: the record of each key; keys of one quota group have one. `holder`: the worker's instance."""
        self._records = records
        self._keepers: dict[QuotaKey, Keeper | None] = {}
        self._by_record: dict[str, Keeper] = {}
        self._unlimited = LocalQuota({key: each for key, each in limits.items() if each == Limits()})
        for key, each in limits.items():
            if each == Limits():
                self._keepers[key] = None
                continue
            name = records[key]
            if name not in self._by_record:
                self._by_record[name] = Keeper(name, holder, each, terms, random)
            self._keepers[key] = self._by_record[name]

    async def start(self, records: Records, on_grant: Callable[[], None]) -> None:
        """Join every record, in the background. `on_grant`: called when those who wait should ask again."""
        for keeper in self._by_record.values():
            keeper.on_grant = on_grant
            await keeper.start(records)

    async def stop(self) -> None:
        """Give back what is leased."""
        await asyncio.gather(*(keeper.stop() for keeper in self._by_record.values()))

    def heard(self, record: str, stored: Stored) -> None:
        """An entry was stored, by whomever."""
        keeper = self._by_record.get(record)
        if keeper is not None:
            keeper.heard(stored)

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """The records out of reach, whose static share is used."""
        return tuple(name for name, keeper in self._by_record.items() if keeper.desk.alone is not None)

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        keeper = self._keepers[key]
        if keeper is None:
            return self._unlimited.try_acquire(key, need, now_s)
        if now_s >= keeper.paused_until_s:
            number = keeper.desk.acquire(need.tokens, now_s)
            if number is not None:
                return Permit(key, need.tokens, number)
        found = _obstacle(keeper, need.tokens, now_s)
        if found is None:
            keeper.desk.demand.refused(need.tokens, now_s)
            keeper.poke()
            return Denied(now_s + _SOON_S, "requests_per_minute", leasing=True)
        wait_s, limit = found
        if wait_s == inf:
            return Denied(inf, limit, never=True)
        if limit != "paused":
            keeper.desk.demand.refused(need.tokens, now_s)
            keeper.poke()
        return Denied(now_s + wait_s, limit, why=keeper.pause_reason if limit == "paused" else "")

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        keeper = self._keepers[key]
        if keeper is None:
            return self._unlimited.wait_s(key, need, now_s)
        if now_s >= keeper.paused_until_s and keeper.desk.has(need.tokens, now_s):
            return 0.0
        found = _obstacle(keeper, need.tokens, now_s)
        return 0.0 if found is None else found[0]

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        keeper = self._keepers[permit.key]
        if keeper is None:
            self._unlimited.settle(permit, true_tokens, now_s)
            return
        desk = keeper.desk
        desk.settle(permit.number, true_tokens, now_s)
        if desk.demand.first is not None or keeper.view.others_wait:
            keeper.poke()

    def pause(self, key: QuotaKey, until_s: float, why: str) -> None:
        keeper = self._keepers[key]
        if keeper is None:
            self._unlimited.pause(key, until_s, why)
        else:
            keeper.pause(until_s, why)

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        keeper = self._keepers[key]
        if keeper is not None:
            keeper.correct(observation, now_s)

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        keeper = self._keepers[key]
        if keeper is None:
            return ()
        return keeper.view.usage(now_s) if keeper.desk.alone is None else keeper.desk.alone.usage(now_s)

    def outlook(self, key: QuotaKey, now_s: float) -> Outlook:
        keeper = self._keepers[key]
        if keeper is None:
            return self._unlimited.outlook(key, now_s)
        if keeper.desk.alone is not None:
            return keeper.desk.alone.outlook(now_s)
        return Outlook(
            recoveries=keeper.view.recoveries(keeper.desk.untold, now_s),
            paused_s=max(0.0, keeper.paused_until_s - now_s),
            concurrency=keeper.book.limits.concurrency,
            source=keeper.key,
        )

    def obstacle(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        keeper = self._keepers[key]
        if keeper is None or (now_s >= keeper.paused_until_s and keeper.desk.has(need.tokens, now_s)):
            return None
        found = _obstacle(keeper, need.tokens, now_s)
        return None if found is None or found[1] == "paused" else found[1]

    def record(self, key: QuotaKey) -> str:
        return "" if self._keepers[key] is None else self._records[key]


def _obstacle(keeper: Keeper, tokens: int, now_s: float) -> tuple[float, LimitName] | None:
    """How long until a request of so many tokens may be let through, and what keeps it; None: nothing we know of."""
    if keeper.book.counts_tokens and tokens > keeper.book.largest_tokens:
        return inf, "tokens_per_minute"
    if now_s < keeper.paused_until_s:
        return keeper.paused_until_s - now_s, "paused"
    if keeper.desk.alone is not None:
        if keeper.desk.alone.has_room(tokens, now_s):
            return None
        at_s, limit = keeper.desk.alone.obstacle(tokens, now_s)
        return (_SOON_S if at_s == inf else max(0.0, at_s - now_s)), limit
    return keeper.view.wait_s(keeper.need(tokens), now_s)
