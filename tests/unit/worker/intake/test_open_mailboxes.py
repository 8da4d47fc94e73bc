"""K2, C6: the slots that the mailboxes of implicit roles share."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from penstock.bus.connection import ConnectionEvents
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig
from services.worker.intake.open_mailboxes import OpenMailboxes, start_all

CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig()},
    models={name: Model(provider="p") for name in ("a", "b", "c")},
    roles={
        "chat": RoleConfig(chain=("a", "b"), slots_per_worker=10, batch_slots_per_worker=5),
        "fast": RoleConfig(chain=("c",), slots_per_worker=6, batch_slots_per_worker=1),
    },
)


class Box:
    def __init__(self, running: int = 0, queued: int = 0) -> None:
        self.running = running
        self.queued = queued
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def boxes(**running: tuple[int, int]) -> OpenMailboxes:
    """`running`: requests in flight in each lane, by role."""
    made = OpenMailboxes(CATALOGUE.all_roles, ("chat", "fast"))
    opened: Any = {
        role.replace("_", "-"): [Box(number) for number in numbers] for role, numbers in running.items()
    }
    made.by_role.update(opened)
    return made


def test_the_roles_of_the_worker_are_not_limited_by_those_on_demand() -> None:
    opened = boxes(chat=(10, 5), model_a=(10, 5), model_b=(10, 5))
    assert opened.usable_slots("chat", "interactive") == sys.maxsize


def test_roles_on_demand_have_together_as_many_slots_as_the_roles_of_the_worker() -> None:
    opened = boxes(chat=(10, 5), model_a=(9, 1), model_b=(0, 0))
    assert opened.usable_slots("model-b", "interactive") == 16 - 9
    assert opened.usable_slots("model-b", "batch") == 6 - 1
    assert opened.usable_slots("model-a", "interactive") == 16


def test_each_role_on_demand_has_a_few_slots_however_many_the_others_use() -> None:
    opened = boxes(model_a=(16, 6), model_b=(0, 0))
    assert opened.usable_slots("model-b", "interactive") == 4
    assert opened.usable_slots("model-b", "batch") == 4


def test_requests_that_wait_are_counted_for_every_role_that_shares_the_model() -> None:
    opened = boxes(chat=(0, 0), fast=(0, 0), model_a=(0, 0), model_c=(0, 0))
    for box in (boxes_of[0] for boxes_of in opened.by_role.values()):
        box.queued = 2  # type: ignore[misc]
    assert opened.queued(frozenset({"a"})) == {"chat": 2, "model-a": 2}


def test_waking_reaches_every_open_mailbox() -> None:
    opened = boxes(chat=(0, 0), model_a=(0, 0))
    opened.wake()
    woken: Any = [box for of_role in opened.by_role.values() for box in of_role]
    assert [box.woken for box in woken] == [1, 1, 1, 1]


class Starting:
    """A mailbox whose start ends with `fault`, if there is one."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault = fault
        self.calls: list[str] = []

    async def start(self, _: ConnectionEvents) -> None:
        self.calls.append("start")
        if self.fault is not None:
            raise self.fault

    async def drain(self, grace_s: float) -> None:
        assert grace_s == 5
        self.calls.append("drain")


@pytest.mark.parametrize("fault", [TimeoutError(), asyncio.CancelledError()])
async def test_the_mailboxes_of_a_role_are_all_started_or_none(fault: BaseException) -> None:
    whole: list[Any] = [Starting(), Starting()]
    await start_all(whole, ConnectionEvents(), 5)
    assert [box.calls for box in whole] == [["start"], ["start"]]

    halves: list[Any] = [Starting(), Starting(fault), Starting()]
    with pytest.raises(type(fault)):
        await start_all(halves, ConnectionEvents(), 5)
    assert [box.calls for box in halves] == [["start", "drain"], ["start", "drain"], []]
