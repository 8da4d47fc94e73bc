"""D8: cancellations, received live and read from the stored marks at the start."""

from __future__ import annotations

from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.contract import subjects
from penstock.contract.streams import CANCELS
from penstock.runtime.cancellation import Cancellations
from penstock.runtime.provisioning.ensure import stream_config
from tests.harness.suite.waiting import until


async def test_d8_cancellations_are_received_live_and_read_at_start(provisioned, unique):
    received = []
    first = Cancellations(provisioned, lambda account, request_id: received.append((account, request_id)))
    await first.start(ConnectionEvents())
    js = provisioned.jetstream()
    for number in range(3):
        await js.publish(subjects.cancel(unique, f"id-{number}"))
    await until(lambda: len([each for each in received if each[0] == unique]) == 3)
    later = Cancellations(provisioned)
    await later.start(ConnectionEvents())
    for marks in (first, later):
        assert all(marks.is_cancelled(unique, f"id-{number}") for number in range(3))
        assert not marks.is_cancelled(unique, "id-3")


async def test_d8_marks_unreadable_at_the_start_are_read_later(own_nats_server, caplog):
    nc = await connect(own_nats_server.url, name="test")
    received = []
    marks = Cancellations(nc, lambda account, request_id: received.append((account, request_id)))
    await marks.start(ConnectionEvents())  # nothing is provisioned, so the stream does not exist
    assert "queued work that was cancelled may run" in caplog.text
    js = nc.jetstream()
    await js.add_stream(stream_config(CANCELS))
    await js.publish(subjects.cancel("demo", "live"))
    await until(lambda: received == [("demo", "live")] * 2)  # the live message and the stored mark
    assert marks.is_cancelled("demo", "live")
    await close(nc)
