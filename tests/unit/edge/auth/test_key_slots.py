"""K5: the requests in progress with each key are counted exactly."""

from __future__ import annotations

import pytest

from services.edge.auth.key_slots import KeySlots


def test_k5_each_key_has_its_own_slots():
    slots = KeySlots(1)
    assert slots.take("a")
    assert not slots.take("a")
    assert slots.take("b")
    slots.give_back("a")
    assert slots.take("a")


def test_k5_a_slot_is_given_back_once():
    slots = KeySlots(2)
    assert slots.take("a")
    slots.give_back("a")
    with pytest.raises(KeyError):
        slots.give_back("a")
