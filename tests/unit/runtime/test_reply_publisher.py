"""E1, D7: a delta is published without waiting only where it is certain to be published, and in order."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.reply_publisher import Position, ReplyPublisher
from penstock.runtime.service import Bus

MIB = 1024 * 1024


def publisher(**state: Any) -> tuple[ReplyPublisher, Nats]:
    """A publisher and its connection, which has no server."""
    nc = Nats()
    nc._status, nc._max_payload, nc._max_pending_size = Nats.CONNECTED, 8 * MIB, 32 * MIB
    nc._flush_queue, nc._flusher_task = asyncio.Queue(), asyncio.Future()
    vars(nc).update(state)
    bus = Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))
    return ReplyPublisher(bus, ReplyAddress("demo", "client", "1"), Position()), nc


async def test_e1_deltas_are_published_at_once_with_consecutive_numbers():
    reply, nc = publisher()
    for text in "abc":
        assert reply.sends_at_once()
        reply.delta_at_once(text, ())
    lines = b"".join(nc._pending).split(b"\r\n")
    assert [line.split()[0] for line in lines[:-1:2]] == [b"PUB"] * 3
    assert [(b'"seq":%d,' % (1 + number)) in line for number, line in enumerate(lines[1::2])] == [True] * 3


@pytest.mark.parametrize(
    "state",
    [
        {"_status": Nats.RECONNECTING},
        {"_status": Nats.DRAINING_PUBS},
        {"_max_payload": MIB // 4},
        {"_pending_data_size": 32 * MIB - 1000},
    ],
)
async def test_d7_no_delta_is_published_at_once_where_the_connection_may_not_take_it(state: dict[str, int]):
    reply, _ = publisher(**state)
    assert not reply.sends_at_once()


async def test_d7_no_delta_is_published_at_once_before_those_that_are_to_be_repeated():
    reply, nc = publisher()
    assert reply.sends_at_once()
    nc.stats["reconnects"] += 1
    assert not reply.sends_at_once()


async def test_d7_a_delta_that_the_connection_does_not_take_is_an_error():
    reply, nc = publisher(_status=Nats.RECONNECTING)
    with pytest.raises(nats.errors.OutboundBufferLimitError):
        reply.delta_at_once("a", ())
    assert nc._pending == []
