"""The handler of spend queries, which any ledger answers."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.contract.codec import SPEND_QUERY, encode
from penstock.contract.ledger.spend import SpendReport
from services.ledger.spend.nats_store import NatsHistory, NatsOwners
from services.ledger.spend.query import answer_query

__all__ = ["answer_spend"]

_RESERVE_BYTES: Final = 64 * 1024


async def answer_spend(nc: Nats, data: bytes) -> bytes:
    """The encoded report on an encoded query; rows that do not fit into a message are left out, the cheapest first.

    Raises msgspec.DecodeError for anything but a query, HistoryChanged, ValueError for a damaged history, and nats
    errors or TimeoutError.
    """
    report = await answer_query(SPEND_QUERY.decode(data), NatsHistory(nc), NatsOwners(nc))
    return _fitting(report, nc.max_payload - _RESERVE_BYTES)


def _fitting(report: SpendReport, most_bytes: int) -> bytes:
    while True:
        encoded = encode(report)
        if len(encoded) <= most_bytes or not report.rows:
            return encoded
        kept = len(report.rows) * most_bytes // len(encoded) * 9 // 10
        left_out = report.left_out + len(report.rows) - kept
        report = replace(report, rows=report.rows[:kept], left_out=left_out)
