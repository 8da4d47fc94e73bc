"""C3, C6: how many more may go before those that were let in, against a plain list of them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.router.admission.deadline_slack import Slack

CROWD = ("chat",)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("promised"), st.integers(0, 3), st.integers(-5, 40), st.integers(0, 30)),
        st.tuples(st.just("came"), st.integers(0, 3), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 9), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_c3_nobody_is_overtaken_by_more_than_it_bears(steps: list[tuple[str, int, int, int]]) -> None:
    slack, now_s = Slack(), 0.0
    alive: list[list[float]] = []  # rank, bears, until
    for what, first, second, third in steps:
        if what == "promised":
            slack.promised(CROWD, first, second, now_s + third)
            alive.append([first, second, now_s + third])
        elif what == "came":
            slack.came(CROWD, first, second)
            for each in alive:
                each[1] -= second * (each[0] > first)
        else:
            now_s += first
        alive = [each for each in alive if each[2] >= now_s]
        least = min((each[1] for each in alive), default=1000)
        assert slack.bears(CROWD, int(least), now_s)
        assert slack.bears(CROWD, int(least) + 1, now_s) == (not alive)


def test_c3_crowds_have_nothing_to_do_with_each_other_and_other_roles_bear_who_overtook() -> None:
    slack = Slack()
    slack.promised(("chat", "fast"), 0, 3, 9.0)
    slack.came(("chat", "fast"), 0, 2)
    assert slack.bears(("chat", "fast"), 3, 0.0), "its own first rank is overtaken by nobody"
    slack.overtook(("chat", "fast"), 2)
    assert not slack.bears(("chat", "fast"), 2, 0.0)
    assert slack.bears(("coding",), 10**6, 0.0)
