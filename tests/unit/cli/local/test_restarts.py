"""The restart policy of a child process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.local.restarts import GiveUp, Restart, RestartHistory, RestartLimits


def run_for(history: RestartHistory, *seconds_alive: float) -> list[Restart | GiveUp]:
    now_s, decisions = 0.0, []
    for alive_s in seconds_alive:
        history.record_start(now_s)
        now_s += alive_s
        decisions.append(history.record_death(now_s))
    return decisions


def delays(decisions: list[Restart | GiveUp]) -> list[float]:
    return [decision.delay_s for decision in decisions if isinstance(decision, Restart)]


def ready_once() -> RestartHistory:
    history = RestartHistory(RestartLimits())
    history.record_ready()
    return history


def test_delay_doubles_up_to_its_limit():
    assert delays(run_for(ready_once(), *[1.0] * 8)) == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_thirty_seconds_alive_reset_the_delay():
    assert delays(run_for(ready_once(), 1, 1, 1, 29.9, 30, 1)) == [0.5, 1, 2, 4, 0.5, 1]


def test_restarts_are_numbered_across_all_runs():
    decisions = run_for(ready_once(), 1, 60, 1)
    assert [decision.number for decision in decisions if isinstance(decision, Restart)] == [1, 2, 3]


def test_a_child_never_ready_is_given_up_after_five_deaths():
    assert run_for(RestartHistory(RestartLimits()), *[0.1] * 5)[-2:] == [Restart(4.0, 4), GiveUp(5)]


def test_a_permanent_failure_before_ready_is_given_up_at_once():
    assert RestartHistory(RestartLimits()).record_death(1.0, permanent=True) == GiveUp(1)
    assert ready_once().record_death(1.0, permanent=True) == Restart(0.5, 1)


def test_slow_deaths_of_a_child_never_ready_count_too():
    assert run_for(RestartHistory(RestartLimits()), *[40.0] * 5)[-1] == GiveUp(5)


def test_a_child_that_was_ready_is_never_given_up():
    assert GiveUp not in {type(decision) for decision in run_for(ready_once(), *[0.1] * 2000)}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_every_delay_is_within_its_limits(seconds_alive: list[float]):
    assert all(0.5 <= delay_s <= 10 for delay_s in delays(run_for(ready_once(), *seconds_alive)))
