"""The write probe notices a stream that nobody writes to and that cannot be written, and leaves nothing in it."""

from __future__ import annotations

import nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import subjects
from penstock.contract.streams import CANCELS, REQUESTS, WORK, StreamSpec
from penstock.runtime.provisioning.ensure import stream_config
from penstock.runtime.provisioning.write_probe import WriteProbe
from tests.harness.nats.failing_disk import refuse_writes


async def test_an_idle_stream_that_refuses_writes_is_found_until_the_server_is_restarted(
    own_nats_server: NatsServer,
):
    async with await nats.connect(own_nats_server.url, reconnect_time_wait=0.05) as client:
        js = client.jetstream()
        for stream in (REQUESTS, CANCELS, WORK):
            await js.add_stream(stream_config(stream))
        probe = WriteProbe(js, [REQUESTS, CANCELS], [WORK])

        async def stored(stream: StreamSpec) -> tuple[int, int]:
            state = (await js.stream_info(stream.name)).state
            return state.messages, state.last_seq

        await probe.probe()
        await js.publish(subjects.cancel("shop", "one"), b"{}")
        await probe.probe()
        assert await stored(REQUESTS) == (0, 1)  # written and deleted
        assert await stored(CANCELS) == (1, 1)  # somebody else has just written
        assert await stored(WORK) == (0, 0)
        assert probe.not_writable == []

        assert own_nats_server.pid is not None
        refuse_writes(own_nats_server.pid)
        await probe.probe()
        assert probe.not_writable == [CANCELS.name, REQUESTS.name]
        await own_nats_server.restart()
        await probe.probe()
        assert probe.not_writable == []
        assert await stored(REQUESTS) == (0, 2)


async def test_a_message_that_a_killed_process_left_is_deleted_at_the_first_look(own_nats_server: NatsServer):
    """No consumer takes it: as the first message of the stream it would stop readers that wait for its end."""
    async with await nats.connect(own_nats_server.url) as client:
        js = client.jetstream()
        for stream in (REQUESTS, WORK):
            await js.add_stream(stream_config(stream))
            await js.publish(stream.probe_subject, b"")
        await js.publish(subjects.request("shop", "chat"), b"{}")

        await WriteProbe(js, [REQUESTS], [WORK]).probe()

        left = [(await js.stream_info(stream.name)).state.messages for stream in (REQUESTS, WORK)]
        assert left == [1, 0]
