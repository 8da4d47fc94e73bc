"""F2: the attempt of a lost worker is recorded, although its request ends in the mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents
from penstock.bus.direct_get import read_page
from penstock.bus.publish import store
from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased, UsageRecorded
from penstock.contract.reply import Completed, Delta, ReplyEvent, Started, Usage, first_seq
from penstock.contract.streams import EVENTS
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents, usage_message_id
from penstock.runtime.config.catalogue import Catalogue, Model, Price, ProviderConfig, RoleConfig
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.pricing import PriceTable
from penstock.runtime.reply_publisher import publish_terminal
from penstock.runtime.service import Bus
from services.router.budget.releases import HoldReleases
from services.router.expiry.lost_usage import LostUsage
from services.router.expiry.request_end import RequestEnder
from services.router.metrics import RouterMetrics
from tests.harness.requests.routed_requests import chat_work
from tests.harness.suite.waiting import until

MODELS = {"m": Model(provider="p", price=Price(input=2, output=10))}
CATALOGUE = Catalogue(
    name="c", providers={"p": ProviderConfig()}, models=MODELS, roles={"chat": RoleConfig(chain=("m",))}
)
USAGE = UsageEvents(CATALOGUE, PriceTable(MODELS))


class Scene:
    """One request, of an account of its own."""

    def __init__(self, nc: Nats, account: str, *, after_s: float) -> None:
        self.bus = Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))
        self.work: ChatWork = chat_work(account=account, estimated_tokens=7, hold_id=f"{account}.c.i")
        self.lost_usage = LostUsage(self.bus, CATALOGUE, USAGE, SYSTEM, after_s)
        releases = HoldReleases(self.bus, RouterMetrics(CollectorRegistry()), SYSTEM)
        self.ender = RequestEnder(self.bus, releases, self.lost_usage, SYSTEM)

    async def reply(self, event: ReplyEvent) -> None:
        if isinstance(event, Completed):
            await publish_terminal(self.bus.js, self.work.reply_to.subject, event)
        else:
            await self.bus.js.publish(self.work.reply_to.subject, codec.encode(event))

    async def begin_attempt(self) -> None:
        """A worker that is then lost began an attempt, and sent twelve bytes."""
        await self.reply(
            Started(id="i", seq=first_seq(1), attempt=1, model="m", provider="p", worker="w", at_ms=1)
        )
        await self.reply(Delta(id="i", seq=first_seq(1) + 1, attempt=1, text="twelve bytes"))

    async def cancel(self) -> None:
        assert await self.ender.end(
            self.work.reply_to, failure_of("cancelled", "the request was cancelled"), work=self.work
        )

    async def stored(self) -> list[UsageRecorded | HoldReleased]:
        page = await read_page(
            self.bus.nc, EVENTS.name, subjects.usage(self.work.account), sequence=1, batch=9
        )
        found = [codec.EVENT.decode(msg.data) for msg in page.messages]
        return [each for each in found if isinstance(each, UsageRecorded | HoldReleased)]


@pytest.fixture
async def scene(provisioned: Nats, unique: str) -> AsyncIterator[Scene]:
    made = Scene(provisioned, unique, after_s=0.0)
    made.lost_usage.start()
    yield made
    await made.lost_usage.stop()


async def test_f2_a_request_cancelled_while_queued_again_has_the_usage_of_its_lost_attempt(
    scene: Scene,
) -> None:
    await scene.begin_attempt()
    await scene.cancel()

    async def both() -> bool:
        return len(await scene.stored()) == 2

    await until(both)
    released, usage = sorted(await scene.stored(), key=lambda each: isinstance(each, UsageRecorded))
    assert isinstance(released, HoldReleased)
    assert isinstance(usage, UsageRecorded)
    assert (released.hold_id, released.why) == (scene.work.hold_id, "cancelled")
    assert (usage.outcome, usage.attempt, usage.estimated, usage.ends) == ("worker_lost", 1, True, False)
    assert (usage.input_tokens, usage.output_tokens) == (7, 3)
    assert usage.cost_picousd == 7 * 2 + 3 * 10


async def test_f2_the_usage_that_a_living_worker_stores_itself_stays_alone(
    provisioned: Nats, unique: str
) -> None:
    scene = Scene(provisioned, unique, after_s=60.0)
    await scene.begin_attempt()
    await scene.cancel()
    exact = recorded_by_worker(scene.work)
    await store(scene.bus.js, subjects.usage(unique), codec.encode(exact), message_id=usage_message_id(exact))
    await scene.lost_usage.stop()  # stores what waits
    assert [each for each in await scene.stored() if isinstance(each, UsageRecorded)] == [exact]


async def test_f2_a_request_that_its_worker_ended_has_no_lost_attempt(provisioned: Nats, unique: str) -> None:
    scene = Scene(provisioned, unique, after_s=60.0)
    await scene.begin_attempt()
    answered = Completed(
        id="i", seq=first_seq(1) + 2, attempt=1, role="chat", model="m", provider="p", finish_reason="stop"
    )
    await scene.reply(answered)
    await scene.cancel()
    await scene.lost_usage.stop()
    assert [each for each in await scene.stored() if isinstance(each, UsageRecorded)] == []


def recorded_by_worker(work: ChatWork) -> UsageRecorded:
    record = AttemptRecord(
        number=1,
        model="m",
        credential="A_KEY",
        outcome="cancelled",
        usage=Usage(input_tokens=8, output_tokens=4),
        estimated=True,
    )
    return USAGE.of(work, record, at_ms=1, worker="w")
