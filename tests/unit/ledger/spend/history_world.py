"""One partition with a journal, snapshots, crashes and a clock, over a history store in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from penstock.contract import subjects
from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.spend import RecentSpend, SpendQuery, SpendReport
from penstock.contract.ledger.spend_address import SpendAddress, spend_address
from services.ledger.spend.grouping import Grouping
from services.ledger.spend.history import SpendHistory
from services.ledger.spend.query import answer_query, report_of
from services.ledger.spend.rows import settled_row
from services.ledger.spend.unwritten import UnwrittenSpend
from tests.unit.ledger.spend.settlements import settled

DAY_S = 86_400
PARTITION = subjects.partition_of("a")
KEPT_S = {"hour": 35 * DAY_S, "day": 400 * DAY_S, "month": 10**10}


class StoreFails(Exception):
    """The store is full, or the process has been killed at this point."""


class MemoryHistory:
    """A `HistoryStore` whose changes fail from the moment when `changes_left` is 0."""

    def __init__(self) -> None:
        self.parts: dict[SpendAddress, tuple[int, bytes]] = {}
        self.changes_left: int | None = None
        self.now_s = 0

    async def subjects(self, grain: str, partition: str) -> Sequence[SpendAddress]:
        return [each for each in self.parts if each.grain == grain and partition in {"*", each.partition}]

    async def read(self, addresses: Sequence[SpendAddress]) -> dict[SpendAddress, bytes]:
        return {address: self.parts[address][1] for address in addresses if address in self.parts}

    async def write(self, address: SpendAddress, data: bytes) -> None:
        self._change()
        assert spend_address(address.subject) == address
        self.parts[address] = (self.now_s, data)

    async def delete(self, address: SpendAddress) -> None:
        self._change()
        self.parts.pop(address, None)

    def expire(self) -> None:
        """Delete what is older than its stream keeps."""
        self.parts = {
            address: part
            for address, part in self.parts.items()
            if self.now_s - part[0] < KEPT_S[address.grain]
        }

    def _change(self) -> None:
        if self.changes_left == 0:
            raise StoreFails
        if self.changes_left is not None:
            self.changes_left -= 1


class SpendWorld:
    """What the owner of the partition does, in its order; `journal` is the truth."""

    def __init__(self, now_s: int) -> None:
        self.store = MemoryHistory()
        self.store.now_s = now_s
        self.journal: list[Settled] = []
        self.owner: UnwrittenSpend | None = UnwrittenSpend()
        self.snapshot = (0, UnwrittenSpend().encode())
        self.history = SpendHistory(self.store, PARTITION)

    @property
    def now_s(self) -> int:
        return self.store.now_s

    def pass_time(self, seconds: int) -> None:
        self.store.now_s += seconds
        self.store.expire()

    def settle(self, late_s: int = 0, **fields: Any) -> None:
        entry = settled(len(self.journal), at_ms=(self.now_s - late_s) * 1000, **fields)
        self.journal.append(entry)
        if self.owner is not None:
            self.owner.add(entry)

    async def save(self) -> None:
        """Take a snapshot; the head is stored, the writes to the history may fail."""
        if self.owner is None:
            return
        self.owner.cut(len(self.journal))
        self.snapshot = (len(self.journal), self.owner.encode())
        await self.write()

    async def write(self) -> None:
        if self.owner is None:
            return
        try:
            for delta in self.owner.deltas(self.snapshot[0]):
                await self.history.write(delta)
                self.owner.confirm(delta.number)
        except StoreFails:
            pass

    async def fail_to_save(self) -> None:
        """The snapshot is cut and its head is not stored."""
        if self.owner is not None:
            self.owner.cut(len(self.journal))

    async def compact(self) -> None:
        if self.owner is not None:
            with suppress(StoreFails):
                await self.history.compact(self.owner.written, self.now_s)

    def crash(self) -> None:
        self.owner = None

    async def take_over(self) -> None:
        self.owner = UnwrittenSpend.decode(self.snapshot[1])
        self.history = SpendHistory(self.store, PARTITION)
        for entry in self.journal[self.snapshot[0] :]:
            self.owner.add(entry)
        await self.write()

    async def rewrite(self) -> None:
        """A former owner writes the deltas of the snapshot from which it loaded."""
        try:
            former = SpendHistory(self.store, PARTITION)
            former._summed = 0  # it loaded before the sums were made
            for delta in UnwrittenSpend.decode(self.snapshot[1]).deltas(self.snapshot[0]):
                await former.write(delta)
        except StoreFails:
            pass

    async def recent(self, partitions: Iterable[str], query: SpendQuery) -> Mapping[str, RecentSpend]:
        found = {each: RecentSpend(since=0, rows=()) for each in partitions if each != PARTITION}
        if self.owner is not None:
            found[PARTITION] = self.owner.recent(len(self.journal), query)
        return found

    async def ask(self, query: SpendQuery) -> SpendReport:
        return await answer_query(query, self.store, self)

    def truth(self, query: SpendQuery) -> SpendReport:
        grouping = Grouping(query)
        grouping.add(map(settled_row, self.journal))
        return report_of([grouping], query)
