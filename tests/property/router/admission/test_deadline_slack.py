"""C3, C6: how many more requests may start ahead of the admitted ones, against a plain list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.router.admission.deadline_slack import DeadlineSlack

SHARERS = ("chat",)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admission"), st.integers(0, 3), st.integers(-5, 40), st.integers(0, 30)),
        st.tuples(st.just("arrival"), st.integers(0, 3), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 9), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_c3_headroom_is_that_of_the_tightest_admitted_request(steps: list[tuple[str, int, int, int]]) -> None:
    slack, now_s = DeadlineSlack(), 0.0
    admitted: list[list[float]] = []  # rank, headroom, latest start
    for what, first, second, third in steps:
        if what == "admission":
            slack.record_admission(SHARERS, first, second, now_s + third)
            admitted.append([first, second, now_s + third])
        elif what == "arrival":
            slack.record_arrival(SHARERS, first, second)
            for each in admitted:
                each[1] -= second * (each[0] > first)
        else:
            now_s += first
        admitted = [each for each in admitted if each[2] >= now_s]
        least = min((each[1] for each in admitted), default=1000)
        headroom = slack.headroom(SHARERS, now_s)
        assert headroom >= int(least)
        assert (headroom >= int(least) + 1) == (not admitted)


def test_c3_groups_are_independent_and_overtaking_uses_headroom_of_rank_0() -> None:
    slack = DeadlineSlack()
    slack.record_admission(("chat", "fast"), 0, 3, 9.0)
    slack.record_arrival(("chat", "fast"), 0, 2)
    assert slack.headroom(("chat", "fast"), 0.0) >= 3, "rank 0 of its own role is never overtaken"
    slack.record_overtaking(("chat", "fast"), 2)
    assert slack.headroom(("chat", "fast"), 0.0) < 2
    assert slack.headroom(("coding",), 0.0) >= 10**6
