"""What a worker reports of the reply bytes that it stored."""

from __future__ import annotations

from services.worker.replies.stored_bytes import StoredBytes


def test_bytes_are_reported_by_account_and_age() -> None:
    stored = StoredBytes(least_reported=10)
    for second in range(100):
        stored.add("a", 10, float(second))
    stored.add("b", 9, 100.0)

    (found,) = stored.report({"a": 97.5}, 100.0)

    assert found.account == "a"
    assert found.unfinished_s == 3
    assert found.stored == tuple((age_s, 100) for age_s in range(10, 101, 10))


def test_what_is_too_old_is_forgotten_and_memory_is_bounded() -> None:
    stored = StoredBytes(least_reported=1)
    for number in range(3000):
        stored.add(f"a{number}", 10 + number, 0.0)
    found = stored.report({}, 1.0)
    assert len(found) == 8
    assert found[0].account == "a2999"
    assert len(stored._slots) == 1000
    assert stored.report({}, 1000.0) == ()
    assert not stored._slots
