"""The ledger's composition root: every part is constructed here."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from penstock.bus.direct_get import stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.presence import Presence
from penstock.contract.streams import JOURNAL
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.heartbeat import Heartbeat, watch_presence
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.provisioning.ensure import JetStreamPlan
from penstock.runtime.provisioning.provisioned import provisioned
from penstock.runtime.service import Bus, Shell
from services.ledger.handlers import PartitionHandlers, SpendHandler
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.assignment import PARTITIONS
from services.ledger.partitions.journal import JournalRoom
from services.ledger.partitions.members import Members
from services.ledger.partitions.ownership import Ownership
from services.ledger.partitions.partition_state import PartitionState
from services.ledger.partitions.snapshotter import Saving, SnapshotPolicy
from services.ledger.partitions.term import LedgerParts, OwnedPartition
from services.ledger.partitions.writer import Times, Writer
from services.ledger.policies.store import PolicyStore
from services.ledger.policies.table import PolicyTable
from services.ledger.spend.nats_store import warn_when_nearly_full

__all__ = ["Ledger"]

_log: Final = rate_limited_logger(__name__)
_SERVICE: Final = "ledger"
_HEARTBEAT_S: Final = 0.5
_ROOM_IN_JOURNAL_EVERY_S: Final = 10.0
_ROOM_EVERY_S: Final = 600.0
_RETRY_S: Final = 0.5
_FIRST_PARTITIONS_S: Final = 10.0
"""Seconds for which the start waits for the first partitions; later ones are taken while it runs."""


class Ledger:
    def __init__(
        self,
        shell: Shell,
        catalogue: Catalogue,
        snapshots: SnapshotPolicy = SnapshotPolicy(),  # noqa: B008 - frozen
    ) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._snapshots = snapshots
        self._metrics = LedgerMetrics(shell.registry)
        for partition in PARTITIONS:
            self._metrics.owned.labels(partition).set(0)
        self._clock = shell.server_time.clock
        self._members = Members(shell.instance)
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        """Provision JetStream, then start the parts in the order in which they need each other."""
        plan = JetStreamPlan.of(self._shell.settings, self._catalogue.roles)
        await self._started.enter_async_context(provisioned(bus, plan, self._shell))
        await self._started.enter_async_context(self._shell.writing(bus, JOURNAL))
        saving = Saving(self._snapshots)
        await self._follow_journal(bus, saving.room)
        table = PolicyTable(self._catalogue.budgets or Budgets())
        policies = PolicyStore(bus.nc, bus.connection_events, table)
        self._started.push_async_callback(policies.stop)
        await policies.start()
        times = Times(
            self._clock, self._shell.server_time, lambda: self._members.in_contact(self._clock.monotonic_s())
        )

        def handlers(state: PartitionState, writer: Writer) -> PartitionHandlers:
            return PartitionHandlers(bus.nc, state, writer, table, times, self._shell.tracer)

        parts = LedgerParts(
            instance=self._shell.instance,
            bus=bus,
            policies=table,
            times=times,
            tracer=self._shell.tracer,
            metrics=self._metrics,
            saving=saving,
            handlers=handlers,
            loading=asyncio.Semaphore(1),
        )
        ownership = Ownership(
            self._shell.instance,
            self._members,
            lambda partition: OwnedPartition(partition, parts),
            self._clock,
            self._metrics,
        )
        spend = SpendHandler(bus.nc)
        self._started.push_async_callback(spend.stop)
        await spend.start()
        room = PeriodicLoop(
            "looking at the room for spend", _ROOM_EVERY_S, partial(warn_when_nearly_full, bus.nc)
        )
        self._started.push_async_callback(room.stop)
        room.start()
        await watch_presence(bus.nc, partial(self._on_heartbeat, ownership), (f"{_SERVICE}.*",))
        heartbeat = Heartbeat(
            bus.nc,
            lambda: self._presence(http, ownership),
            ownership.changed,
            every_s=_HEARTBEAT_S,
            server_time=self._shell.server_time,
        )
        # The others take over when they hear that this process stops, while it still answers.
        self._started.push_async_callback(ownership.leave)
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()
        ownership.start()
        await _first_partitions(ownership)

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._started.aclose()

    async def _follow_journal(self, bus: Bus, room: JournalRoom) -> None:
        """Read the room in the journal, repeatedly."""

        async def read() -> None:
            room.observe(await stream_position(bus.nc, JOURNAL.name))

        reading = PeriodicLoop("reading the room in the journal", _ROOM_IN_JOURNAL_EVERY_S, read)
        await reading.run_once()
        self._started.push_async_callback(reading.stop)
        reading.start()

    def _on_heartbeat(self, ownership: Ownership, instance: str, presence: Presence | None) -> None:
        if presence is None:
            self._members.forget(instance)
            ownership.look()
        else:
            self._members.observe(instance, presence.at_ms, self._clock.monotonic_s())

    def _presence(self, http: str, ownership: Ownership) -> Presence:
        at_ms = self._shell.server_time.unix_ms()
        self._members.record_sent(at_ms, self._clock.monotonic_s())
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=at_ms,
            http=http,
            catalogue=self._catalogue.digest(),
            partitions=ownership.owned,
        )


async def _first_partitions(ownership: Ownership) -> None:
    try:
        async with asyncio.timeout(_FIRST_PARTITIONS_S):
            while not ownership.is_settled:  # noqa: ASYNC110 - time alone may settle it
                await asyncio.sleep(_RETRY_S / 10)
    except TimeoutError:
        _log.warning("not all partitions are taken yet")
