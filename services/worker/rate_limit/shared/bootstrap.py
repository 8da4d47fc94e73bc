"""Joining a shared record: say that we are there, and learn the record's time."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.shared.cas_writer import Writing
from services.worker.rate_limit.shared.replica import Copy
from services.worker.rate_limit.shared.store_protocol import Records

__all__ = ["join"]

_ANSWER_S: Final = 0.2
"""A newcomer waits this long for those who know the record's time."""
_GAP_S: Final = 1.0


async def join(copy: Copy, writing: Writing, records: Records) -> None:
    """Those who know the time tell it. When nobody does, the server's clock tells how long nobody wrote. It is
    believed for nothing else: if it steps while anybody is there, nobody here notices.

    Raises what `Records` raises, but no Conflict; then join again.
    """
    before = await writing.read()
    if copy.view.record is None:
        copy.take(QuotaRecord(at_ms=0), copy.revision, loop_now_s())
    at_ms = copy.record.at_ms
    await writing.write(anyway=True)
    mine, wrote_s = copy.revision, loop_now_s()
    if before is None or not before.data:
        return
    await asyncio.sleep(_ANSWER_S)
    hello = await records.read(copy.key)
    if hello is not None and hello.revision == mine and hello.at_s - before.at_s > _GAP_S:
        copy.clock.heard(at_ms + int((hello.at_s - before.at_s) * 1000), wrote_s)
