"""G4: the order of work of several accounts and checks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.guard.detectors.turns import FairQueue, Turn, current_turn, turn_of


def taken(queue: FairQueue[str]) -> list[str]:
    found = []
    while queue:
        first = queue.first()
        found.append(queue.popleft())
        assert found[-1] == first
    return found


def test_g4_accounts_take_turns_and_checks_within_them():
    queue: FairQueue[str] = FairQueue()
    for item in ("a1x", "a1y", "a1z", "a2x", "a2y", "b1x", "b1y"):
        queue.append(Turn(item[0], int(item[1])), item)
    assert taken(queue) == ["a1x", "b1x", "a2x", "b1y", "a1y", "a2y", "a1z"]
    with pytest.raises(LookupError):
        queue.popleft()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=40))
def test_g4_everything_comes_once_and_that_of_one_check_in_order(turns: list[tuple[str, int]]):
    queue: FairQueue[tuple[Turn, int]] = FairQueue()
    given_items = [(Turn(*turn), number) for number, turn in enumerate(turns)]
    for item in given_items:
        queue.append(item[0], item)
    found = []
    while queue:
        found.append(queue.popleft())
    assert sorted(found, key=lambda item: item[1]) == given_items
    for turn in {item[0] for item in given_items}:
        mine = [number for each, number in found if each == turn]
        assert mine == sorted(mine)


async def test_g4_each_check_has_its_own_turn_in_its_tasks_too():
    async def turn() -> Turn:
        return current_turn()

    with turn_of("shop"):
        first, second = await asyncio.gather(turn(), turn())
    with turn_of("shop"):
        other = current_turn()
    assert first == second != other
    assert {first.account, other.account} == {"shop"}
    assert current_turn() == Turn()
