"""Joining a shared record: say that we are there, and learn the record's time."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.shared.cas_writer import CasWriter
from services.worker.rate_limit.shared.replica import Replica
from services.worker.rate_limit.shared.store_protocol import RecordStore

__all__ = ["join"]

_ANSWER_S: Final = 0.2
"""A newcomer waits this long for those who know the record's time."""
_GAP_S: Final = 1.0


async def join(replica: Replica, writer: CasWriter, records: RecordStore) -> None:
    """Those who know the time tell it. When nobody does, the server's clock tells how long nobody wrote. It is
    believed for nothing else: if it steps while anybody is there, nobody here notices.

    Raises what `RecordStore` raises, but no Conflict; then join again.
    """
    before = await writer.read()
    if replica.view.record is None:
        replica.take(QuotaRecord(at_ms=0), replica.revision, loop_now_s())
    at_ms = replica.record.at_ms
    await writer.write(anyway=True)
    mine, wrote_s = replica.revision, loop_now_s()
    if before is None or not before.data:
        return
    await asyncio.sleep(_ANSWER_S)
    hello = await records.read(replica.key)
    if hello is not None and hello.revision == mine and hello.at_s - before.at_s > _GAP_S:
        replica.clock.observe(at_ms + int((hello.at_s - before.at_s) * 1000), wrote_s)
