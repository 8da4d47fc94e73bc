"""F2: usage that the ledger has not settled yet is in a stream of its own, which no other event can fill."""

from __future__ import annotations

import asyncio

from penstock.contract import subjects
from penstock.contract.streams import AUDIT, EVENTS
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

SMALL = JetStreamPlan(ack_wait_s=10, store_scale=0.1)
USAGE = subjects.usage("shop")
VERDICT = subjects.event("guard", "shop")


async def test_f2_a_flood_of_other_events_displaces_no_usage(own_nc):
    js = own_nc.jetstream()
    await ensure(js, SMALL)
    first = await js.publish(USAGE, b"used")
    oldest = await js.publish(VERDICT, b"oldest")
    body = bytes(256 * 1024)

    await asyncio.gather(*(js.publish(VERDICT, body) for _ in range(32)))

    assert (await js.get_last_msg(EVENTS.name, USAGE)).seq == first.seq
    state = (await js.stream_info(AUDIT.name)).state
    assert state.first_seq > oldest.seq, "the oldest events go first"
    assert state.bytes <= AUDIT.scaled(SMALL.store_scale).max_bytes


async def test_f2_the_stream_of_an_older_version_keeps_its_usage(own_nc):
    """It held all events; those of other kinds stay readable there until they are 30 days old."""
    js = own_nc.jetstream()
    await js.add_stream(name=EVENTS.name, subjects=["llm.event.>"])
    used, _ = await js.publish(USAGE, b"used"), await js.publish(VERDICT, b"old")

    await ensure(js, SMALL)
    await js.publish(VERDICT, b"new")
    later = await js.publish(USAGE, b"used later")

    assert (await js.get_msg(EVENTS.name, used.seq)).data == b"used"
    assert (later.stream, later.seq) == (EVENTS.name, used.seq + 2), "positions of the ledger stay valid"
    assert (await js.get_last_msg(EVENTS.name, VERDICT)).data == b"old"
    assert (await js.get_last_msg(AUDIT.name, VERDICT)).data == b"new"
