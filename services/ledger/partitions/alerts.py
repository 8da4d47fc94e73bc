"""Alerts of a partition, each published once, whichever owner of the partition does it."""

from __future__ import annotations

import asyncio
from typing import Final

import nats.errors
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetAlerted
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.ledger.journal import Alerted
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.budgets.describe import alert_text
from penstock.runtime.service import Bus
from services.ledger.budget.policies import Policies
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.partition_state import PartitionState

__all__ = ["AlertPublisher"]

_log: Final = rate_limited_logger(__name__)
_ACK_S: Final = 2.0
_RETRY_S: Final = 1.0


class AlertPublisher:
    """Publishes the alerts of the journal, oldest first, and again until they are stored.

    Each has a subject of its own, where only the first is stored: an alert that was published before is not repeated.
    """

    def __init__(self, bus: Bus, state: PartitionState, policies: Policies, metrics: LedgerMetrics) -> None:
        self._bus = bus
        self._state = state
        self._policies = policies
        self._metrics = metrics
        self._added = asyncio.Event()
        self._loop = CriticalLoop("budget alerts")

    def start(self) -> None:
        self.wake()
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()

    def wake(self) -> None:
        """Alerts may have been added to the state."""
        if self._state.alerts:
            self._added.set()

    async def _run(self) -> None:
        while True:
            await self._added.wait()
            self._added.clear()
            while self._state.alerts:
                try:
                    await self._publish(self._state.alerts[0])
                except (nats.errors.Error, NoStreamResponseError, APIError, TimeoutError) as error:
                    _log.warning("a budget alert cannot be published now: %r", error)
                    await asyncio.sleep(_RETRY_S)
                else:
                    del self._state.alerts[0]

    async def _publish(self, alert: Alerted) -> None:
        name = f"{alert.account}.{alert.name}"
        subject = subjects.budget_event(
            alert.scope, name, alert.period_start_s, alert.limit, alert.percent, alert.traffic
        )
        event = BudgetAlerted(
            scope=alert.scope,
            account=alert.account,
            name=alert.name,
            limit=alert.limit,
            percent=alert.percent,
            spent=alert.spent,
            allowed=alert.allowed,
            period_start_ms=alert.period_start_s * 1000,
            resets_at_ms=self._state.budget.resets_at_ms(alert, self._policies),
            at_ms=alert.at_ms,
            traffic=alert.traffic,
        )
        try:
            await self._bus.js.publish(
                subject, codec.encode(event), timeout=_ACK_S, headers={EXPECTED_LAST: "0"}
            )
        except APIError as error:
            if not is_conflict(error):
                raise
            return
        self._metrics.alerts.labels(str(alert.percent)).inc()
        _log.info("%s", alert_text(event))
