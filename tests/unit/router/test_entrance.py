"""C3: the place behind the door is kept from the verdict on, and given back by whoever is refused after all."""

from __future__ import annotations

import asyncio

import pytest

from services.router.admission.gate import Entrance, Place
from services.router.queues.backlog_poller import Counting
from services.router.queues.byte_limits import Room
from services.router.routing.decide import Refused, Routed
from tests.harness.routed_requests import routed
from tests.unit.router.test_door import Scene, minute, quota

ROOM = 3


@pytest.fixture
def scene() -> Scene:
    """With room for three more before anybody's deadline."""
    scene = Scene()
    scene.beat(quota("small", minute(ROOM)), quota("large", minute(0)))
    scene.count()
    return scene


def entrance(scene: Scene, room: Room | None = None) -> Entrance:
    class CountedJustNow(Counting):
        async def has_newer(self, than_s: float | None) -> bool:
            return self._backlog.counted_s != than_s

    room = room or Room(scene.backlog)
    return Entrance(scene.door, room, CountedJustNow(scene.backlog, room, scene.clock, lambda: 1))


async def admit(door: Entrance, scene: Scene) -> Place | Refused:
    return await door.admit(routed(scene.work()), accepted_before=False)


async def test_c3_of_many_at_once_no_more_are_let_in_than_there_is_room_for(scene: Scene) -> None:
    """Whatever each has to do between the verdict and the mailbox: nobody is in it yet."""
    door = entrance(scene)
    outcomes = await asyncio.gather(*(admit(door, scene) for _ in range(128)))
    assert sum(isinstance(each, Place) for each in outcomes) == ROOM


async def test_c3_who_is_refused_after_all_or_dies_gives_the_place_back_and_who_is_stored_keeps_it(
    scene: Scene,
) -> None:
    door = entrance(scene)
    for _ in range(5 * ROOM):
        place = await admit(door, scene)
        assert isinstance(place, Place)
        with pytest.raises(OSError, match="lost"), place:
            raise OSError("lost")
    for _ in range(ROOM):
        place = await admit(door, scene)
        assert isinstance(place, Place)
        with place:
            place.stored()
    assert isinstance(await admit(door, scene), Refused)


async def test_c3_a_place_is_kept_through_a_count_of_the_mailboxes_that_has_it_not_yet(scene: Scene) -> None:
    door = entrance(scene)
    places = [await admit(door, scene) for _ in range(ROOM)]
    assert all(isinstance(each, Place) for each in places)
    scene.count()
    assert isinstance(await admit(door, scene), Refused)


async def test_c3_who_comes_a_second_time_is_not_judged_but_counts(scene: Scene) -> None:
    door = entrance(scene)
    for _ in range(ROOM):
        assert isinstance(await door.admit(routed(scene.work()), accepted_before=True), Place)
    assert isinstance(await door.admit(routed(scene.work()), accepted_before=True), Place)
    assert isinstance(await admit(door, scene), Refused)


async def test_c3_who_only_looks_hears_what_the_door_would_say_and_takes_no_place(scene: Scene) -> None:
    door = entrance(scene)
    for _ in range(5 * ROOM):
        outcome, foreseen = await door.look(routed(scene.work()))
        assert isinstance(outcome, Routed)
        assert foreseen.retry_after_s is None
    for _ in range(ROOM):
        assert isinstance(await admit(door, scene), Place)
    outcome, foreseen = await door.look(routed(scene.work()))
    refused = await admit(door, scene)
    assert isinstance(refused, Refused)
    assert outcome == refused
    assert foreseen.retry_after_s == refused.retry_after_s


async def test_c3_who_only_looks_hears_that_there_is_no_room_for_a_body(scene: Scene) -> None:
    room = Room(scene.backlog)
    room.asking()
    room.snapshot(0, 1000)
    door = entrance(scene, room)
    outcome, _ = await door.look(routed(scene.work()))
    assert isinstance(outcome, Refused)
    assert "mailboxes" in outcome.message
