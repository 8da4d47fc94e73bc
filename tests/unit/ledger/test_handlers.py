"""F2: questions about spend."""

from __future__ import annotations

from nats.aio.client import Client as Nats

from services.ledger.handlers import SpendHandler


async def test_f2_a_ledger_that_could_not_start_stops_without_an_error():
    await SpendHandler(Nats()).stop()
