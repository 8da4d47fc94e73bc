"""E2: the size of the stream of replies that a worker reads has everything that it wrote before."""

from __future__ import annotations

from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.contract import subjects
from penstock.contract.streams import REPLIES
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.replies.stream_size import read_stream_size

SIZE = 100_000
MESSAGES = 200


async def test_e2_what_was_published_before_is_in_the_size(own_nc: Nats) -> None:
    js = own_nc.jetstream()
    bus = Bus(own_nc, js, ConnectionEvents(), DeliveryEpochs(own_nc))
    assert await read_stream_size(bus) is None, "there is no stream yet"
    await js.add_stream(name=REPLIES.name, subjects=[*REPLIES.subjects, REPLIES.probe_subject])
    for number in range(MESSAGES):
        await own_nc.publish(subjects.reply("a", "c", str(number)), bytes(SIZE))
    size = await read_stream_size(bus)
    assert size is not None
    assert size >= MESSAGES * SIZE
    assert (await js.stream_info(REPLIES.name)).state.messages == MESSAGES, "the probe is deleted"
