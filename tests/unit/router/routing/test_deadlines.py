from __future__ import annotations

import pytest

from services.router.routing.decide import deadline_ms
from services.router.routing.outcome import InvalidRequest

NOW_MS = 1_800_000_000_000


def test_the_default_deadline_is_that_of_the_role() -> None:
    assert deadline_ms(None, NOW_MS, NOW_MS, total_s=90.5) == NOW_MS + 90_500
    assert deadline_ms(None, NOW_MS - 60_000, NOW_MS, total_s=90) == NOW_MS + 30_000, "since it was stored"


def test_a_requested_deadline_is_kept_up_to_the_limit_of_the_lane() -> None:
    assert deadline_ms(NOW_MS + 1, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 1
    assert deadline_ms(NOW_MS + 600_000, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 600_000
    assert deadline_ms(NOW_MS + 10**12, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 3_600_000
    assert deadline_ms(None, NOW_MS, NOW_MS, total_s=90, max_s=10) == NOW_MS + 10_000


@pytest.mark.parametrize("late_by_ms", [0, 1, 5_000])
def test_c3_a_request_past_its_deadline_on_arrival_is_rejected(late_by_ms: int) -> None:
    with pytest.raises(InvalidRequest, match=f"passed {late_by_ms:,} ms before") as caught:
        deadline_ms(NOW_MS - late_by_ms, NOW_MS, NOW_MS, total_s=90)
    assert caught.value.code == "deadline_exceeded"


@pytest.mark.parametrize("asked_ms", [1, 30_000, 1_795_257_916])
def test_d10_a_duration_or_seconds_given_as_a_deadline_are_explained(asked_ms):
    now_ms = 1_795_257_916_512

    with pytest.raises(
        InvalidRequest, match=f"deadline_ms {asked_ms} .* milliseconds since 1970, such as {now_ms + 60_000}"
    ):
        deadline_ms(asked_ms, now_ms, now_ms, 90)
