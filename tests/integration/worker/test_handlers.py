"""A message that is delivered again after its request has ended."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents
from penstock.bus.direct_get import read_page
from penstock.bus.large_bodies import BodyLost, BodyUpload, read_body, reference_to
from penstock.contract import subjects
from penstock.contract.codec import USAGE, encode
from penstock.contract.errors import ErrorCode
from penstock.contract.events import HoldReleased
from penstock.contract.request import NO_BODY
from penstock.contract.streams import EVENTS
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.consumer.delivery import ACK, Delivery
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.budget.hold_releases import HoldReleases
from services.worker.execution.large_bodies import LargeBodies
from services.worker.handlers import WorkHandler
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of, work


class Ended:
    """The stored replies of a request that another worker has ended."""

    def __init__(self, failed_with: ErrorCode | None = None) -> None:
        self._prior = PriorAttempts(ended=True, failed_with=failed_with)

    async def read(self, *_: object) -> PriorAttempts:
        return self._prior


def delivered_again(request: ChatWork) -> Delivery:
    subject = subjects.work("chat", "interactive", 0, "x")
    return Delivery(
        subject=subject, data=encode(request), headers={}, ack_subject="", sequence=1, number=2, stored_ns=0
    )


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
    handler = WorkHandler(parts.catalogue, ended, part, parts.recorder, part, part, bodies, part, part, 30)
    assert await handler.handle(delivered_again(large)) is ACK
    with pytest.raises(BodyLost):
        await read_body(nc, large.reply_to, ref)


@pytest.mark.parametrize("code", ["cancelled", None])
async def test_f1_a_worker_releases_the_hold_of_a_request_that_another_one_failed_before_it_died(
    provisioned: Nats, unique: str, code: ErrorCode | None
) -> None:
    nc, parts = provisioned, WorkerParts(catalogue_of())
    request = work(id=unique, account=unique, hold_id=f"{unique}.c.{unique}")
    part: Any = None  # not used here
    ended: Any = Ended(code)
    bus = Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))
    releases = HoldReleases(bus, SYSTEM, enabled=True)
    handler = WorkHandler(
        parts.catalogue, ended, part, parts.recorder, part, part, LargeBodies(bus), releases, part, 30
    )
    for _ in range(2):
        assert await handler.handle(delivered_again(request)) is ACK
    page = await read_page(nc, EVENTS.name, subjects.usage(unique), sequence=1, batch=9)
    events = [USAGE.decode(msg.data) for msg in page.messages]
    released = [(each.hold_id, each.why) for each in events if isinstance(each, HoldReleased)]
    assert set(released) == (set() if code is None else {(request.hold_id, code)})
