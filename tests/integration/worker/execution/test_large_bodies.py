"""A worker reads a body that is stored apart, for as long as its request is executed (issue 9)."""

from __future__ import annotations

import json

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.bus.large_bodies import read_body, reference_to, store_body
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.state import Execution, GaveUp
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of
from tests.unit.worker.worker_parts import work as new_work


async def execution_with(nc: Nats, unique: str, body: dict[str, object]) -> Execution:
    encoded = json.dumps(body).encode()
    ref = await reference_to(encoded)
    execution = WorkerParts(catalogue_of()).execution(lasts_s=10, id=unique, body_ref=ref)
    execution.work = new_work(id=unique, body_ref=ref)
    await store_body(nc, execution.work.reply_to, encoded, timeout_s=5)
    return execution


@pytest.fixture
def bodies(provisioned: Nats) -> LargeBodies:
    nc = provisioned
    return LargeBodies(Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc)))


async def test_the_body_and_its_output_limit_belong_to_the_execution_until_it_ends(
    provisioned: Nats, bodies: LargeBodies, unique: str
):
    body = {"messages": [], "max_tokens": 77}
    execution = await execution_with(provisioned, unique, body)
    work, size, ref = execution.work, execution.size, execution.work.body_ref
    assert ref is not None
    async with bodies.read(execution, ref):
        assert json.loads(bytes(execution.work.body)) == body
        assert execution.size.work is execution.work
        assert execution.size.output_tokens == 77
    assert (execution.work, execution.size) == (work, size)

    await bodies.delete(execution.work)
    with pytest.raises(GaveUp, match="send the request again") as caught:
        async with bodies.read(execution, ref):
            pytest.fail("there is no body")
    assert (caught.value.code, caught.value.retry_after_s) == ("internal", 1.0)


async def test_a_body_that_differs_or_has_a_wrong_limit_ends_the_request(
    provisioned: Nats, bodies: LargeBodies, unique: str
):
    execution = await execution_with(provisioned, unique, {"messages": [], "max_tokens": -5})
    ref = execution.work.body_ref
    assert ref is not None
    for wrong, because in (
        (ref, "max_tokens is out of range"),
        (await reference_to(b"x" * ref.size), "SHA-256"),
    ):
        with pytest.raises(GaveUp, match=because) as caught:
            async with bodies.read(execution, wrong):
                pytest.fail("the body is wrong")
        assert caught.value.code == "invalid_request"
    assert await read_body(provisioned, execution.work.reply_to, ref)
    await bodies.delete(execution.work)
