"""K5: the requests in progress with each key are counted exactly."""

from __future__ import annotations

import pytest

from services.edge.auth.key_slots import KeySlots


def test_k5_each_key_has_its_own_slots():
    slots = KeySlots(1)
    assert slots.try_acquire("a")
    assert not slots.try_acquire("a")
    assert slots.try_acquire("b")
    slots.release("a")
    assert slots.try_acquire("a")


def test_k5_a_slot_is_released_once():
    slots = KeySlots(2)
    assert slots.try_acquire("a")
    slots.release("a")
    with pytest.raises(KeyError):
        slots.release("a")
