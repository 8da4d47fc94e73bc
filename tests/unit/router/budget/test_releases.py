"""A release that cannot be stored is repeated in the background, within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import pytest
from nats.js.api import PubAck
from prometheus_client import CollectorRegistry

from penstock.bus.clock import Clock
from penstock.bus.connection import ConnectionEvents
from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased
from penstock.contract.headers import MESSAGE_ID
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.service import Bus
from services.router.budget import releases as module
from services.router.budget.releases import HoldReleases
from services.router.metrics import RouterMetrics

ADDRESS = ReplyAddress("acme", "api-1", "r1")
LOST = "penstock_router_lost_releases_total"


async def publish(
    js: Any, subject: str, payload: bytes, *, timeout_s: float, headers: Any, **_: Any
) -> PubAck:
    """In place of `publish_checked`, which asks a connection."""
    acknowledged: PubAck = await js.publish(subject, payload, timeout_s, headers)
    return acknowledged


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.bus.publish.publish_checked", publish)


class _JetStream:
    """Stores what is published while `up`; else it does not answer. Without `acknowledges` its answers are lost."""

    def __init__(self) -> None:
        self.up = True
        self.acknowledges = True
        self.stored: list[tuple[str, HoldReleased, dict[str, str]]] = []

    async def publish(self, subject: str, payload: bytes, timeout: float, headers: dict[str, str]) -> PubAck:
        if not self.up:
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError
        event = codec.EVENT.decode(payload)
        assert isinstance(event, HoldReleased)
        self.stored.append((subject, event, headers))
        if not self.acknowledges:
            raise nats.errors.TimeoutError
        return PubAck(stream="LLM_EVENTS", seq=len(self.stored))


class _Scene:
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        nothing: Any = None
        self.js: Any = _JetStream()
        self.registry = CollectorRegistry()
        bus = Bus(nothing, self.js, ConnectionEvents(), nothing)
        self.clock = Clock(loop.time, loop.time)
        self.releases = HoldReleases(bus, RouterMetrics(self.registry), self.clock)

    @property
    def lost(self) -> float | None:
        return self.registry.get_sample_value(LOST)


async def test_f1_a_release_is_stored_where_the_ledger_settles_the_account() -> None:
    scene = _Scene()
    await scene.releases.release(ADDRESS, "overloaded", {"traceparent": "00-1"})
    ((subject, event, headers),) = scene.js.stored
    assert subject == subjects.usage("acme")
    assert (event.hold_id, event.account, event.why) == ("acme.api-1.r1", "acme", "overloaded")
    assert headers[MESSAGE_ID] == f"acme.api-1.r1.released.{event.at_ms}"
    assert headers["traceparent"] == "00-1"


async def test_f1_a_release_that_is_not_stored_delays_its_request_for_a_second_and_is_repeated() -> None:
    scene = _Scene()
    scene.js.up = False
    scene.releases.start()
    began_s = scene.clock.monotonic_s()
    await scene.releases.release(ADDRESS, "cancelled")
    assert scene.clock.monotonic_s() - began_s <= 1.1
    await asyncio.sleep(5)
    assert scene.js.stored == []
    scene.js.up = True
    await asyncio.sleep(3)
    ((_, event, _),) = scene.js.stored
    assert event.why == "cancelled"
    await scene.releases.stop()
    assert scene.lost == 0


async def test_f1_releases_are_given_up_after_ten_minutes_and_counted() -> None:
    scene = _Scene()
    scene.js.up = False
    await scene.releases.release(ADDRESS, "cancelled")
    await asyncio.sleep(601)
    scene.js.up = True
    scene.releases.start()
    await asyncio.sleep(2)
    await scene.releases.stop()
    assert scene.js.stored == []
    assert scene.lost == 1


async def test_f1_a_second_hold_with_the_same_id_has_a_release_of_its_own() -> None:
    scene = _Scene()
    await scene.releases.release(ADDRESS, "overloaded")
    await asyncio.sleep(1)
    await scene.releases.release(ADDRESS, "cancelled")
    first, second = (headers[MESSAGE_ID] for _, _, headers in scene.js.stored)
    assert first != second


async def test_f1_a_repeated_attempt_to_store_a_release_has_the_same_id() -> None:
    scene = _Scene()
    scene.js.acknowledges = False
    await scene.releases.release(ADDRESS, "cancelled")
    scene.releases.start()
    await asyncio.sleep(4)
    await scene.releases.stop()
    assert len({headers[MESSAGE_ID] for _, _, headers in scene.js.stored}) == 1
    assert len(scene.js.stored) > 1


async def test_f1_no_more_releases_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    scene = _Scene()
    scene.js.up = False
    for name in "abc":
        await scene.releases.release(ReplyAddress("acme", "c", name), "cancelled")
    assert scene.lost == 1


async def test_f1_a_router_that_stops_stores_what_is_left_or_counts_it() -> None:
    scene = _Scene()
    scene.js.up = False
    await scene.releases.release(ADDRESS, "cancelled")
    await scene.releases.stop()
    assert scene.lost == 1
    scene.js.up = True
    await scene.releases.stop()
    assert len(scene.js.stored) == 1
