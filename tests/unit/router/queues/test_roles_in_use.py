"""K2: which implicit roles a router's heartbeats report as in use."""

from __future__ import annotations

import asyncio

import pytest

from penstock.contract.subjects import work
from services.router.queues.backlog import Backlog
from services.router.queues.roles_in_use import RolesInUse


class Scene:
    """A router with the models `a` and `b`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.backlog = Backlog()
        self.changed = asyncio.Event()
        self.in_use = RolesInUse(("model-a", "model-b"), self.backlog, self.changed, self)

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return int(self.now_s * 1000)

    def count(self, **messages: int) -> None:
        """A count of the mailboxes; `messages` by model."""
        counts = {work(f"model-{name}", "batch", 0, "f"): count for name, count in messages.items()}
        self.backlog.begin_count()
        self.backlog.snapshot(counts, 1)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_no_role_is_in_use_at_the_start(scene: Scene) -> None:
    assert scene.in_use.report() == ()


def test_the_first_work_of_a_role_asks_for_a_heartbeat_at_once_and_more_work_does_not(scene: Scene) -> None:
    scene.in_use.record_enqueued("model-a")
    assert scene.changed.is_set()
    scene.changed.clear()
    assert scene.in_use.report() == ("model-a",)
    scene.in_use.record_enqueued("model-a")
    assert not scene.changed.is_set()
    scene.in_use.record_enqueued("model-b")
    assert scene.changed.is_set()


def test_roles_of_the_catalogue_file_and_unknown_ones_are_never_reported(scene: Scene) -> None:
    scene.in_use.record_enqueued("chat")
    scene.in_use.record_enqueued("model-foreign")
    scene.count(foreign=1)
    assert not scene.changed.is_set()
    assert scene.in_use.report() == ()


def test_work_that_another_router_enqueued_is_reported_after_the_next_count(scene: Scene) -> None:
    scene.count(b=3)
    assert scene.in_use.report() == ("model-b",)


def test_a_role_stays_in_use_for_half_a_minute_after_its_last_work(scene: Scene) -> None:
    scene.in_use.record_enqueued("model-a")
    scene.now_s += 20
    scene.in_use.record_enqueued("model-a")
    scene.now_s += 29
    assert scene.in_use.report() == ("model-a",)
    scene.now_s += 2
    assert scene.in_use.report() == ()
    scene.in_use.record_enqueued("model-a")
    assert scene.changed.is_set()


def test_a_role_is_in_use_for_as_long_as_its_work_waits(scene: Scene) -> None:
    for _ in range(10):
        scene.count(a=1)
        assert scene.in_use.report() == ("model-a",)
        scene.now_s += 3600
