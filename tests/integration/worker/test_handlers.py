"""A message that is delivered again after its request has ended."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.bus.large_bodies import BodyLost, BodyUpload, read_body, reference_to
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.request import NO_BODY
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.consumer.delivery import ACK, Delivery
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.execution.large_bodies import LargeBodies
from services.worker.handlers import WorkHandler
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of, work


class Ended:
    """The stored replies of a request that another worker has ended."""

    async def read(self, *_: object) -> PriorAttempts:
        return PriorAttempts(ended=True)


async def test_d8_a_worker_deletes_the_body_of_a_request_that_another_one_ended_before_it_died(
    provisioned: Nats, unique: str
):
    nc, parts = provisioned, WorkerParts(catalogue_of())
    ref = await reference_to(b"body")
    large = replace(work(id=unique, body_ref=ref), body=NO_BODY)
    await BodyUpload(nc, large.reply_to).store(b"body", timeout_s=5)
    part: Any = None  # not used here
    ended: Any = Ended()
    bodies = LargeBodies(Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc)))
    handler = WorkHandler(parts.catalogue, ended, part, parts.recorder, part, part, bodies, part)
    subject = subjects.work("chat", "interactive", 0, "x")
    again = Delivery(
        subject=subject, data=encode(large), headers={}, ack_subject="", sequence=1, number=2, stored_ns=0
    )
    assert await handler.handle(again) is ACK
    with pytest.raises(BodyLost):
        await read_body(nc, large.reply_to, ref)
