"""An owner of all partitions as far as spend goes, on a real nats-server."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.contract import codec, subjects
from penstock.contract.ledger.journal import JournalBatch, Settled
from services.ledger.spend.answer import answer_spend
from services.ledger.spend.history import SpendHistory
from services.ledger.spend.nats_store import NatsHistory
from services.ledger.spend.unwritten import UnwrittenSpend
from tests.unit.ledger.spend.settlements import settled


class SpendOwner:
    """Appends to the journal, answers for its partitions, and writes their history."""

    def __init__(self, nc: Nats, partitions: tuple[str, ...] = tuple(map(str, range(8)))) -> None:
        self.nc = nc
        self.spend = {partition: UnwrittenSpend() for partition in partitions}
        self.history = {partition: SpendHistory(NatsHistory(nc), partition) for partition in partitions}
        self.sequence = dict.fromkeys(partitions, 0)
        self.booked: list[Settled] = []

    async def start(self) -> None:
        for partition in self.spend:
            await self.nc.subscribe(subjects.ledger_recent(partition), cb=self._on_recent)
        await self.nc.subscribe(subjects.LEDGER_SPEND, "ledger", cb=self._on_spend)
        await self.nc.flush()

    async def settle(self, **fields: Any) -> Settled:
        entry = settled(len(self.booked), **fields)
        await self.append(entry)
        return entry

    async def append(self, *entries: Settled) -> None:
        partition = subjects.partition_of(entries[0].account)
        ack = await self.nc.jetstream().publish(
            subjects.journal(partition), codec.encode(JournalBatch(entries=entries))
        )
        self.sequence[partition] = ack.seq
        for entry in entries:
            self.spend[partition].add(entry)
            self.booked.append(entry)

    async def save(self) -> None:
        for partition, spend in self.spend.items():
            spend.cut(self.sequence[partition])
            for delta in spend.deltas(self.sequence[partition]):
                await self.history[partition].write(delta)
                spend.confirm(delta.number)

    async def compact(self, now_s: int) -> int:
        return sum(
            [
                await history.compact(self.spend[partition].written, now_s)
                for partition, history in self.history.items()
            ]
        )

    async def _on_recent(self, message: Msg) -> None:
        partition = message.subject.rpartition(".")[2]
        query = codec.SPEND_QUERY.decode(message.data) if message.data else None
        answer = self.spend[partition].recent(self.sequence[partition], query)
        await message.respond(codec.encode(answer))

    async def _on_spend(self, message: Msg) -> None:
        await message.respond(await answer_spend(self.nc, message.data))
