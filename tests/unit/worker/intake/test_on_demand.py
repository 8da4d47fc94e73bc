"""K2: a worker opens the mailboxes of implicit roles while a router reports them as in use, and closes them later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
import pytest

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import Presence
from services.worker.intake.on_demand import OnDemandMailboxes, ReportedRoles

HEARTBEAT_S = 2.0
GRACE_S = 25.0


class Box:
    """A mailbox without a server."""

    def __init__(self) -> None:
        self.running = 0
        self.draining_s = 0.3
        self.drained = False
        self.fault: Exception | None = None

    async def drain(self, grace_s: float) -> None:
        assert grace_s == GRACE_S
        await asyncio.sleep(self.draining_s)
        if self.fault is not None:
            raise self.fault
        self.drained = True


class Scene:
    """A worker with the mailboxes of `chat`, and of `model-a` and `model-b` on demand."""

    def __init__(self) -> None:
        self.reported = ReportedRoles(("model-a", "model-b"))
        self.mailboxes: dict[str, list[Any]] = {"chat": [Box(), Box()]}
        self.opened: list[str] = []
        self.refused = 0
        """How often opening fails."""
        self.refusal: Exception = nats.errors.TimeoutError()
        self.opening_s = {"model-a": 0.01, "model-b": 0.01}
        self.cancelled: list[str] = []
        self.on_open = 0
        self.on_demand = OnDemandMailboxes(
            self.reported, self.mailboxes, self.open, drain_s=GRACE_S, on_open=self.count
        )

    def count(self) -> None:
        self.on_open += 1

    async def open(self, role: str) -> list[Any]:
        if self.refused:
            self.refused -= 1
            raise self.refusal
        try:
            await asyncio.sleep(self.opening_s[role])
        except asyncio.CancelledError:
            self.cancelled.append(role)
            raise
        self.opened.append(role)
        return [Box(), Box()]

    def heartbeat(self, *roles: str, service: str = "router") -> None:
        presence = Presence(service=service, instance="r", at_ms=0, roles_in_use=roles)
        self.reported.observe(presence, loop_now_s())

    async def heartbeats(self, count: int, *roles: str) -> None:
        for _ in range(count):
            self.heartbeat(*roles)
            await asyncio.sleep(HEARTBEAT_S)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    made.on_demand.start()
    yield made
    await made.on_demand.stop()


async def test_a_reported_role_is_opened_at_once_and_only_once(scene: Scene) -> None:
    scene.heartbeat("model-a")
    await asyncio.sleep(0.02)
    assert set(scene.mailboxes) == {"chat", "model-a"}
    await scene.heartbeats(20, "model-a")
    assert (scene.opened, scene.on_open) == (["model-a"], 1)


async def test_roles_that_the_worker_does_not_serve_and_other_services_are_ignored(scene: Scene) -> None:
    scene.heartbeat("model-c", "chat")
    scene.heartbeat("model-a", service="worker")
    scene.reported.observe(None, loop_now_s())
    await asyncio.sleep(1)
    assert scene.opened == []


async def test_an_unused_role_is_closed_and_opened_again_when_it_is_used(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a", "model-b")
    boxes = scene.mailboxes["model-a"]
    await scene.heartbeats(8, "model-b")
    assert set(scene.mailboxes) == {"chat", "model-b"}
    assert all(box.drained for box in boxes)
    await scene.heartbeats(1, "model-a")
    assert set(scene.mailboxes) == {"chat", "model-a", "model-b"}


async def test_a_short_gap_in_the_reports_closes_nothing(scene: Scene) -> None:
    """As after the start of a router, which has not counted the mailboxes yet."""
    await scene.heartbeats(1, "model-a")
    await scene.heartbeats(3)
    assert "model-a" in scene.mailboxes


async def test_without_heartbeats_of_a_router_everything_stays_open(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a")
    await asyncio.sleep(3600)
    assert "model-a" in scene.mailboxes


async def test_a_role_with_running_requests_is_not_closed(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a")
    scene.mailboxes["model-a"][1].running = 1
    await scene.heartbeats(20)
    assert "model-a" in scene.mailboxes
    scene.mailboxes["model-a"][1].running = 0
    await scene.heartbeats(2)
    assert "model-a" not in scene.mailboxes


async def test_a_role_reported_while_it_is_being_closed_is_opened_again(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a")
    for box in scene.mailboxes["model-a"]:
        box.draining_s = 20.0
    await scene.heartbeats(6)
    scene.heartbeat("model-a")
    await asyncio.sleep(1)
    assert scene.opened == ["model-a"]
    await scene.heartbeats(10, "model-a")
    assert scene.opened == ["model-a", "model-a"]
    assert not scene.mailboxes["model-a"][0].drained


async def test_closing_one_role_does_not_delay_the_opening_of_another(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a")
    for box in scene.mailboxes["model-a"]:
        box.draining_s = 25.0
    await scene.heartbeats(6)
    scene.heartbeat("model-b")
    await asyncio.sleep(0.02)
    assert "model-b" in scene.mailboxes


async def test_an_opening_that_fails_is_repeated_at_the_next_heartbeat(scene: Scene) -> None:
    scene.refused = 2
    await scene.heartbeats(2, "model-a")
    assert "model-a" not in scene.mailboxes
    await scene.heartbeats(1, "model-a")
    assert "model-a" in scene.mailboxes
    assert scene.on_open == 1


async def test_a_role_that_could_never_be_opened_is_forgotten(scene: Scene) -> None:
    scene.refused = 100
    await scene.heartbeats(1, "model-a")
    await scene.heartbeats(7)
    assert scene.reported.unused(loop_now_s()) == frozenset()
    assert scene.opened == []


async def test_stopping_waits_for_what_is_being_closed_and_leaves_the_rest_open(scene: Scene) -> None:
    await scene.heartbeats(1, "model-a", "model-b")
    closing = scene.mailboxes["model-a"]
    closing[0].draining_s = 5.0
    await scene.heartbeats(5, "model-b")
    scene.heartbeat("model-b")
    await asyncio.sleep(0.01)
    await scene.on_demand.stop()
    assert closing[0].drained
    assert set(scene.mailboxes) == {"chat", "model-b"}


async def test_an_unexpected_error_of_an_opening_is_logged_and_the_opening_repeated(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.refused, scene.refusal = 1, ValueError("unexpected")
    await scene.heartbeats(2, "model-a")
    assert "model-a" in scene.mailboxes
    assert "unexpected" in caplog.text


async def test_an_error_of_the_loop_itself_is_logged_and_does_not_end_it(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(scene.reported, "used", None)
        await scene.heartbeats(1, "model-a")
    assert "considered again at the next heartbeat" in caplog.text
    await scene.heartbeats(1, "model-a")
    assert "model-a" in scene.mailboxes


async def test_a_slow_opening_delays_no_other_and_is_not_begun_twice(scene: Scene) -> None:
    scene.opening_s["model-a"] = 15.0
    await scene.heartbeats(1, "model-a", "model-b")
    assert set(scene.mailboxes) == {"chat", "model-b"}
    await scene.heartbeats(8, "model-a")
    assert scene.opened == ["model-b", "model-a"]


async def test_a_role_whose_closing_fails_is_closed_and_opened_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.heartbeats(1, "model-a")
    first, second = scene.mailboxes["model-a"]
    first.draining_s, first.fault = 0.1, OSError("gone")
    await scene.heartbeats(8)
    assert "model-a" not in scene.mailboxes
    assert second.drained, "the other one is drained to its end"
    assert "did not end in order" in caplog.text
    await scene.heartbeats(1, "model-a")
    assert scene.opened == ["model-a", "model-a"]


async def test_stopping_ends_an_opening_in_progress(scene: Scene) -> None:
    scene.opening_s["model-a"] = 15.0
    await scene.heartbeats(1, "model-a")
    async with asyncio.timeout(1):
        await scene.on_demand.stop()
    assert scene.cancelled == ["model-a"]
    assert set(scene.mailboxes) == {"chat"}
