from __future__ import annotations

import pytest

from penstock.runtime.config.catalogue import Breaker
from penstock.runtime.outbound.breaker import PROBE_RETRY_S, BreakerAdmission, CircuitBreaker, Transition


@pytest.fixture
def breaker() -> CircuitBreaker:
    """A breaker with the settings of the `openai` catalogue."""
    return CircuitBreaker(Breaker(open_s=60, max_open_s=60, probe_interval_s=30))


def opened(breaker: CircuitBreaker, now_s: float = 0.0) -> BreakerAdmission:
    """Open the breaker; returns the admission of a call still in flight."""
    slow = breaker.admit(now_s)
    for _ in range(5):
        breaker.failed(breaker.admit(now_s), now_s)
    assert breaker.state == "open"
    return slow


def test_d3_five_consecutive_failures_open_it_for_a_minute(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        assert breaker.failed(breaker.admit(0.0), 0.0) is None
    assert breaker.failed(breaker.admit(1.0), 1.0) == Transition("closed", "open")
    assert not breaker.admit(60.9).admitted
    assert breaker.retry_at_s(60.9) == 61.0
    probe = breaker.admit(61.0)
    assert probe.admitted
    assert probe.transition == Transition("open", "half_open")


def test_d3_a_success_resets_the_count_of_failures(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(0.0), 0.0)
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state == "closed"


def test_d3_two_successful_probes_thirty_seconds_apart_close_it(breaker: CircuitBreaker) -> None:
    opened(breaker)
    first = breaker.admit(60.0)
    assert breaker.succeeded(first, 61.0) is None
    assert not breaker.admit(62.0).admitted
    assert breaker.retry_at_s(62.0) == 90.0
    second = breaker.admit(90.0)
    assert second.transition is None
    assert breaker.succeeded(second, 91.0) == Transition("half_open", "closed")
    assert breaker.admit(91.0).admitted


def test_d3_only_one_probe_is_in_flight(breaker: CircuitBreaker) -> None:
    opened(breaker)
    breaker.admit(60.0)
    assert not breaker.admit(61.0).admitted
    assert breaker.retry_at_s(61.0) == 90.0
    assert not breaker.admit(150.0).admitted
    assert breaker.retry_at_s(150.0) == 150.0 + PROBE_RETRY_S


def test_d3_a_failed_probe_opens_it_again_for_a_minute(breaker: CircuitBreaker) -> None:
    opened(breaker)
    breaker.succeeded(breaker.admit(60.0), 61.0)
    assert breaker.failed(breaker.admit(90.0), 91.0) == Transition("half_open", "open")
    assert breaker.retry_at_s(100.0) == 151.0
    breaker.succeeded(breaker.admit(151.0), 152.0)
    assert breaker.state == "half_open", "a success before the failed probe does not count"


def test_an_abandoned_probe_admits_another_at_once(breaker: CircuitBreaker) -> None:
    opened(breaker)
    probe = breaker.admit(60.0)
    assert breaker.abandoned(probe, 61.0) is None
    assert breaker.retry_at_s(61.0) == 61.0
    assert breaker.admit(61.0).probe
    breaker.succeeded(probe, 62.0)
    assert not breaker.admit(62.0).admitted, "the outcome of an abandoned probe is ignored"


def test_d3_a_429_does_not_change_the_count_of_failures(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.abandoned(breaker.admit(0.0), 0.0)
    assert breaker.failed(breaker.admit(0.0), 0.0) == Transition("closed", "open")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "abandoned"])
def test_the_outcome_of_a_call_from_before_the_opening_is_ignored(
    breaker: CircuitBreaker, outcome: str
) -> None:
    slow = opened(breaker)
    assert getattr(breaker, outcome)(slow, 10.0) is None
    assert breaker.retry_at_s(10.0) == 60.0
    breaker.admit(60.0)
    assert getattr(breaker, outcome)(slow, 61.0) is None
    assert breaker.state == "half_open"
    assert breaker.retry_at_s(61.0) == 90.0


def test_a_call_from_before_the_opening_cannot_open_it_again_later() -> None:
    breaker = CircuitBreaker(Breaker(failure_threshold=1, open_s=60, probe_interval_s=30))
    slow = breaker.admit(0.0)
    breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(60.0), 60.0)
    breaker.succeeded(breaker.admit(90.0), 90.0)
    assert breaker.failed(slow, 91.0) is None
    assert breaker.state == "closed"
    assert breaker.failed(breaker.admit(92.0), 92.0) == Transition("closed", "open")


def test_asking_for_the_retry_time_does_not_change_the_state(breaker: CircuitBreaker) -> None:
    assert breaker.retry_at_s(3.0) == 3.0
    opened(breaker)
    assert breaker.retry_at_s(70.0) == 70.0
    assert breaker.state == "open"


def test_the_outcome_of_a_rejected_call_is_ignored(breaker: CircuitBreaker) -> None:
    opened(breaker)
    refused = breaker.admit(1.0)
    assert breaker.succeeded(refused, 2.0) is None
    assert breaker.failed(refused, 2.0) is None
    assert breaker.state == "open"


def test_d3_openings_double_from_15_s_to_60_s_while_probes_fail() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    now_s, lasted_s = 0.0, []
    for _ in range(4):
        lasted_s.append(breaker.retry_at_s(now_s) - now_s)
        now_s = breaker.retry_at_s(now_s)
        breaker.failed(breaker.admit(now_s), now_s)
    assert lasted_s == [15, 30, 60, 60]


def test_d3_after_closing_it_opens_for_15_s_again() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    breaker.failed(breaker.admit(15.0), 15.0)
    for now_s in (45.0, 50.0):
        breaker.succeeded(breaker.admit(now_s), now_s)
    assert breaker.state == "closed"
    opened(breaker, 60.0)
    assert breaker.retry_at_s(60.0) == 75.0


def test_an_opening_is_never_shorter_than_the_first() -> None:
    breaker = CircuitBreaker(Breaker(open_s=120))
    opened(breaker)
    assert breaker.retry_at_s(0.0) == 120.0


def mixed(breaker: CircuitBreaker, *, successes: int, now_s: float = 0.0) -> None:
    """Open the breaker by five failed calls after `successes` successful ones."""
    for _ in range(successes):
        breaker.succeeded(breaker.admit(now_s), now_s)
    opened(breaker, now_s)


def test_a_model_without_a_success_gets_one_trial_in_five_seconds() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    trials_s = []
    for tick in range(1500):
        admission = breaker.admit(now_s := tick / 100, trial=True)
        if admission.admitted:
            trials_s.append(now_s)
            breaker.failed(admission, now_s)
    assert trials_s == [5.0, 10.0]


def test_the_rate_of_trials_follows_the_success_share() -> None:
    good, poor = CircuitBreaker(Breaker()), CircuitBreaker(Breaker())
    mixed(good, successes=15)
    mixed(poor, successes=1)
    assert good.trial_at_s(0.0) < poor.trial_at_s(0.0) < 5


def test_failed_trials_reduce_the_rate_of_trials() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=35)
    trials = 0
    for tick in range(1400):
        admission = breaker.admit(now_s := tick / 100, trial=True)
        if admission.admitted:
            trials += 1
            breaker.failed(admission, now_s)
    assert trials <= 10, "five failures a second would have been 70"


def test_two_consecutive_successful_trials_close_it() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=15)
    assert breaker.succeeded(breaker.admit(1.0, trial=True), 1.5) is None
    assert breaker.failed(breaker.admit(2.0, trial=True), 2.5) is None
    assert breaker.succeeded(breaker.admit(4.0, trial=True), 4.5) is None
    stale = breaker.admit(5.0, trial=True)
    assert breaker.succeeded(breaker.admit(6.0, trial=True), 6.5) == Transition("open", "closed")
    assert breaker.failed(stale, 7.0) is None, "the trial began before the closing"
    assert breaker.state == "closed"


def test_trials_do_not_postpone_a_probe() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=15)
    for now_s in (1.0, 2.0, 9.0):
        breaker.failed(breaker.admit(now_s, trial=True), now_s)
    assert breaker.retry_at_s(10.0) == 15.0
    assert breaker.admit(15.0, trial=True).probe


def test_the_trials_in_flight_follow_the_success_share() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=5)
    in_flight = sum(breaker.admit(10 + tick / 100, trial=True).admitted for tick in range(400))
    assert in_flight == 10, "half of the recent calls succeeded"


@pytest.mark.parametrize("probe_first", [True, False])
def test_d3_a_hanging_trial_or_probe_delays_others_by_at_most_5_s(
    probe_first: bool,
) -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    began_s = 15.0 if probe_first else 5.0
    hung = breaker.admit(began_s, trial=True)
    assert hung.probe == probe_first
    assert not breaker.admit(began_s + 4.9, trial=True).admitted
    assert breaker.trial_at_s(began_s + 4.9) <= began_s + 5.9
    second = breaker.admit(began_s + 5.0, trial=True)
    assert second.admitted
    breaker.succeeded(second, began_s + 5.5)
    breaker.failed(hung, began_s + 20.0)
    assert breaker.trial_at_s(began_s + 20.0) <= began_s + 25.0
