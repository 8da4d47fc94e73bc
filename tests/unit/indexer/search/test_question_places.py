"""H1: the questions of one account, or of several, leave places to every other one."""

from __future__ import annotations

import pytest

from services.indexer.search.question_places import QuestionPlaces


@pytest.mark.parametrize("busy", [1, 3, 10])
def test_h1_accounts_that_ask_without_end_leave_places_to_another_one(busy: int):
    places = QuestionPlaces(64)
    held = {f"a{number}": 0 for number in range(busy)}
    for _ in range(100):
        for account in held:
            held[account] += places.enter(account)
    assert max(held.values()) - min(held.values()) <= 1
    assert places.taken == sum(held.values()) < 64
    assert places.enter("another")


def test_h1_a_place_that_is_given_back_is_given_again():
    places = QuestionPlaces(4)
    assert [places.enter("a") for _ in range(3)] == [True, True, False]
    places.leave("a")
    assert places.taken == 1
    assert places.enter("a")


def test_h1_all_places_can_be_taken_but_no_more():
    places = QuestionPlaces(8)
    assert sum(places.enter(f"a{number}") for number in range(100)) == 8
