"""The indexer's composition root: every part is constructed here or in `composition.py`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from penstock.contract.names import INDEX, LANES, Lane
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.streams import COLLECTIONS, REPLIES, mailbox
from penstock.runtime.buckets.follower import BucketFollower
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.retrieval import Retrieval
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_eventually
from penstock.runtime.provisioning.provisioned import provisioned
from penstock.runtime.service import Bus, Shell
from services.indexer.composition import Connected, Parts, connected_parts
from services.indexer.embedding.embed_requests import EmbedRequests
from services.indexer.embedding.gateway import EmbeddingGateway
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.scheduler import MOST_WAITING
from services.indexer.store.opening import open_store

__all__ = ["Indexer"]

_ORPHANS_S: Final = 600.0
"""Between two looks for tables that no collection has."""
_DELIVERIES_PER_ATTEMPT: Final = 10
"""A request that waits for a slot when its indexer stops is delivered again, and was not begun."""


class Indexer:
    """One mailbox per lane, and the questions of all accounts."""

    def __init__(self, shell: Shell, catalogue: Catalogue, retrieval: Retrieval, store_url: str) -> None:
        self._shell = shell
        self._catalogue = catalogue
        self._retrieval = retrieval
        self._store_url = store_url
        self._plan = JetStreamPlan.of(shell.settings, (*catalogue.roles, INDEX))
        self._metrics = IndexerMetrics(shell.registry)
        self._mailboxes: list[Mailbox] = []
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        store = await open_store(self._store_url, self._shell.server_time.clock)
        self._started.push_async_callback(store.close)
        await self._started.enter_async_context(provisioned(bus, self._plan, self._shell))
        await self._started.enter_async_context(self._shell.writing(bus, REPLIES))
        gateway: EmbeddingGateway = EmbedRequests(bus, self._shell.instance, self._shell.tracer)
        parts = connected_parts(
            Connected(
                self._shell,
                bus,
                self._catalogue,
                self._retrieval,
                store,
                gateway,
                self._metrics,
                self._shell.server_time.clock,
            )
        )
        self._started.push_async_callback(parts.extractor.close)
        self._started.push_async_callback(parts.maintenance.stop)
        parts.maintenance.start()
        await self._remove_orphans(parts)
        await self._answer_questions(bus, parts)
        await parts.prior_attempts.start()
        await parts.cancellable.start()
        self._started.push_async_callback(self._drain_mailboxes, parts)
        for lane in LANES:
            self._mailboxes.append(self._mailbox(bus, parts, lane))
            await self._mailboxes[-1].start(bus.connection_events)
        heartbeat = Heartbeat(
            bus.nc, lambda: self._presence(http, parts.scheduler.running), server_time=self._shell.server_time
        )
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._started.aclose()

    async def _remove_orphans(self, parts: Parts) -> None:
        removing = PeriodicLoop("the removal of orphaned tables", _ORPHANS_S, parts.orphans.remove)
        await removing.run_once()
        self._started.push_async_callback(removing.stop)
        removing.start()

    async def _answer_questions(self, bus: Bus, parts: Parts) -> None:
        follower = BucketFollower(bus.nc, bus.connection_events, COLLECTIONS, parts.followed.replace)
        self._started.push_async_callback(follower.stop)
        await follower.start()
        self._metrics.collections.set_function(lambda: len(parts.followed))
        self._started.push_async_callback(parts.questions.stop, self._shell.settings.drain_s)
        await parts.questions.start()

    def _mailbox(self, bus: Bus, parts: Parts, lane: Lane) -> Mailbox:
        settings = self._shell.settings
        policy = MailboxPolicy(
            slots=self._retrieval.slots + MOST_WAITING,
            ack_wait_s=settings.ack_wait_s,
            max_deliver=_DELIVERIES_PER_ATTEMPT * settings.max_deliver,
            usable_slots=parts.scheduler.usable_slots,
        )
        made = Mailbox(
            bus.nc,
            mailbox(INDEX, lane),
            policy,
            handle=parts.work.handle,
            dead_letter=parts.work.dead_letter,
            repair=partial(ensure_eventually, bus.js, self._plan),
        )
        self._metrics.queued.labels(lane).set_function(lambda: made.queued + parts.scheduler.waiting(lane))
        return made

    async def _drain_mailboxes(self, parts: Parts) -> None:
        draining = [asyncio.create_task(box.drain(self._shell.settings.drain_s)) for box in self._mailboxes]
        await asyncio.sleep(0)  # they pull nothing from here on
        parts.scheduler.stop()
        await asyncio.gather(*draining)

    def _presence(self, http: str, running: int) -> Presence:
        self._metrics.running.set(running)
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=self._shell.server_time.unix_ms(),
            http=http,
            catalogue=self._catalogue.digest(),
            roles=(RoleStatus(role=INDEX, slots=self._retrieval.slots, running=running),),
        )
