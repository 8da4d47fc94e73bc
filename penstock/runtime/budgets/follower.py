"""Keeps the budget policies and prices of a process equal to the bucket `llm_budgets`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nats.aio.client import Client as Nats

from penstock.bus.bucket import Record
from penstock.bus.connection import ConnectionEvents
from penstock.contract.streams import BUDGETS
from penstock.runtime.buckets.follower import BucketFollower
from penstock.runtime.budgets.records import BudgetRecords, records_of

__all__ = ["BudgetFollower"]


class BudgetFollower:
    """Calls `on_change` with all records in force after each change, within a second of it. While the bucket cannot
    be read, and in place of a record that is not valid, what was known stays in force.
    """

    def __init__(
        self, nc: Nats, events: ConnectionEvents, on_change: Callable[[BudgetRecords], None]
    ) -> None:
        self._on_change = on_change
        self._records = BudgetRecords()
        self._follower = BucketFollower(nc, events, BUDGETS, self._replace)

    async def start(self) -> bool:
        """Return when the records were read, or after some seconds without them: then False."""
        return await self._follower.start()

    async def stop(self) -> None:
        await self._follower.stop()

    def _replace(self, stored: Sequence[Record]) -> None:
        self._records = records_of(stored, self._records)
        self._on_change(self._records)
