"""The guard's composition root: every part is constructed here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from penstock.client.client import Client
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.contract.presence import Presence
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.guard import Detectors, Guard
from penstock.runtime.guard.follower import GuardPolicies
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.provisioning.ensure import JetStreamPlan
from penstock.runtime.provisioning.provisioned import provisioned
from penstock.runtime.service import Bus, Shell
from services.guard.checker import Checker, Records
from services.guard.composition import (
    DetectorLoader,
    LoadedLocally,
    ModerationKey,
    load_locally,
    timeouts_s,
)
from services.guard.detectors.run import DetectorRunner
from services.guard.handlers import CheckHandler, ClassifyHandler
from services.guard.metrics import GuardMetrics
from services.guard.pending_events import PendingEvents

__all__ = ["GuardService"]

_log: Final = logging.getLogger(__name__)
_EVENTS_S: Final = 5.0
"""Seconds that a stopping guard waits for events to be stored."""


class GuardService:
    def __init__(
        self,
        shell: Shell,
        catalogue: Catalogue,
        cache_dir: Path,
        moderation_key: str | None,
        local: Callable[[Path, Detectors], LoadedLocally] = load_locally,
    ) -> None:
        self._shell = shell
        self._catalogue = catalogue
        # Without a section no worker asks for checks; routers and the command line may.
        self._config = catalogue.guard or Guard()
        self._metrics = GuardMetrics(shell.registry)
        self._loader = DetectorLoader(partial(local, cache_dir), self._key(moderation_key), self._connect)
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        """Load the detectors, then take checks: a guard that is ready answers at once."""
        plan = JetStreamPlan.of(self._shell.settings, self._catalogue.roles)
        await self._started.enter_async_context(provisioned(bus, plan, self._shell))
        detectors = self._config.detectors
        loaded = await self._loader.load(detectors, self._started)
        policies = GuardPolicies(bus.nc, bus.connection_events, self._config)
        self._started.push_async_callback(policies.stop)
        await policies.start()
        events = PendingEvents(bus.js, self._metrics)
        self._started.push_async_callback(events.drain, _EVENTS_S)
        records = Records(
            self._shell.instance,
            self._metrics,
            self._shell.tracer,
            events.add,
            log_content=self._config.log_content,
        )
        runner = DetectorRunner(loaded.detectors, timeouts_s(detectors), self._metrics)
        checker = Checker(policies, runner, records, self._shell.server_time.clock)
        checks = CheckHandler(bus.nc, checker, self._metrics, self._shell.instance)
        self._started.push_async_callback(checks.stop, self._shell.settings.drain_s)
        await checks.start()
        if loaded.topics is not None:
            topics = ClassifyHandler(bus.nc, loaded.topics, self._metrics)
            self._started.push_async_callback(topics.stop)
            await topics.start()
        heartbeat = Heartbeat(bus.nc, lambda: self._presence(http), server_time=self._shell.server_time)
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._started.aclose()

    async def _connect(self) -> Client:
        settings = self._shell.settings
        return await Client.connect(
            settings.nats_url, account=GUARD_ACCOUNT, auth=settings.nats_auth, tracer=self._shell.tracer
        )

    def _key(self, value: str | None) -> ModerationKey | None:
        if value is None:
            return None
        settings = self._shell.settings
        name = self._config.detectors.openai_moderation.api_key_env
        return ModerationKey(value, name, settings.secrets_dir, settings.secrets_poll_s)

    def _presence(self, http: str) -> Presence:
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=self._shell.server_time.unix_ms(),
            http=http,
            catalogue=self._catalogue.digest(),
        )
