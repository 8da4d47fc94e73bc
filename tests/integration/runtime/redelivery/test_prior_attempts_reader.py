"""D6: the server's clock decides whether another worker may have received a message, not this machine's clock."""

from __future__ import annotations

import time

import nats
import pytest

from penstock.bus.connection import ConnectionEvents
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import subjects
from penstock.contract.reply import Failed, Failure
from penstock.contract.streams import WORK
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus

ACK_WAIT_S = 10.0
HOUR_S = 3_600.0


@pytest.mark.parametrize("wrong_by_s", [-HOUR_S, -5.0, 0.0, HOUR_S])
async def test_d6_a_wrong_clock_does_not_make_an_old_message_new(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, wrong_by_s: float
) -> None:
    true_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + int(wrong_by_s * 1e9))
    passed_s = 0.0

    def now_ns() -> int:
        return time.monotonic_ns() + int((wrong_by_s + passed_s) * 1e9)

    nc = await nats.connect(own_nats_server.url)
    try:
        js = nc.jetstream()
        await ensure(js, JetStreamPlan(roles=("chat",), ack_wait_s=ACK_WAIT_S))
        bus = Bus(nc, js, ConnectionEvents(), DeliveryEpochs(nc))
        reader = PriorAttemptsReader(
            bus, ACK_WAIT_S, lambda: time.monotonic_ns() + int((wrong_by_s + passed_s) * 1e9)
        )
        await reader.start()
        reply = subjects.ReplyAddress("demo", "c", "1")
        end = Failed(id="1", seq=1, error=Failure(code="cancelled", message="", retry="never"))
        await publish_terminal(js, reply.subject, end)
        ack = await js.publish(subjects.work("chat", "interactive", 0, "flow"), b"work")
        stored = await js.get_msg(WORK.name, ack.seq)
        assert stored.time is not None
        delivery = Delivery(
            subject=stored.subject or "",
            data=b"work",
            headers={},
            ack_subject="",
            sequence=ack.seq,
            number=1,
            stored_ns=int(stored.time.timestamp() * 1e9),
        )
        assert await reader.read(delivery, reply) == PriorAttempts(), (
            "no replies are read for a message that is certainly new"
        )
        passed_s = ACK_WAIT_S / 2
        assert (await reader.read(delivery, reply)).ended, "the replies of an old message are read"
    finally:
        await nc.close()
