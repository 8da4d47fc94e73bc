"""Cancel marks are remembered as long as their stream remembers them, and no longer."""

from __future__ import annotations

from nats.aio.client import Client as Nats

from penstock.contract.streams import CANCELS
from penstock.runtime.cancellation import Cancellations


def test_a_mark_counts_for_its_account_only():
    marks = Cancellations(Nats())
    marks.mark("demo", "id-1")
    assert marks.is_cancelled("demo", "id-1")
    assert not marks.is_cancelled("other", "id-1")
    assert not marks.is_cancelled("demo", "id-2")


def test_the_kept_marks_are_bounded_in_age_and_number():
    now_s = 0.0
    marks = Cancellations(Nats(), clock_s=lambda: now_s)
    held = []
    for number in range(5 * CANCELS.max_age_s // 10):
        now_s = number * 10.0
        marks.mark("demo", f"id-{number}")
        held.append(len(marks._marks))
    assert max(held) == CANCELS.max_age_s // 10 + 1
    assert marks.is_cancelled("demo", f"id-{number}")
    assert not marks.is_cancelled("demo", "id-0")


def test_a_renewed_mark_is_kept():
    now_s = 0.0
    marks = Cancellations(Nats(), clock_s=lambda: now_s)
    marks.mark("demo", "again")
    marks.mark("demo", "once")
    now_s = CANCELS.max_age_s - 1
    marks.mark("demo", "again")
    now_s = CANCELS.max_age_s + 1
    marks.mark("demo", "new")
    assert marks.is_cancelled("demo", "again")
    assert marks.age_s("demo", "again") == now_s, "counted from the first"
    assert not marks.is_cancelled("demo", "once")
