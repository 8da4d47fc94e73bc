from __future__ import annotations

import pytest

from penstock.runtime.config.catalogue import Breaker
from services.worker.models.breaker import PROBE_RETRY_S, Admission, CircuitBreaker, Transition


@pytest.fixture
def breaker() -> CircuitBreaker:
    """With the figures of the `openai` catalogue."""
    return CircuitBreaker(Breaker(open_s=60, longest_open_s=60, probe_interval_s=30))


def opened(breaker: CircuitBreaker, now_s: float = 0.0) -> Admission:
    """Opens it, and answers the admission of a call that is still under way."""
    slow = breaker.admit(now_s)
    for _ in range(5):
        breaker.failed(breaker.admit(now_s), now_s)
    assert breaker.state == "open"
    return slow


def test_d3_five_failures_in_a_row_open_it_for_a_minute(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        assert breaker.failed(breaker.admit(0.0), 0.0) is None
    assert breaker.failed(breaker.admit(1.0), 1.0) == Transition("closed", "open")
    assert breaker.admit(60.9) == Admission(admitted=False, retry_at_s=61.0)
    probe = breaker.admit(61.0)
    assert probe.admitted
    assert probe.transition == Transition("open", "half_open")


def test_d3_a_success_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(0.0), 0.0)
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state == "closed"


def test_d3_two_good_probes_thirty_seconds_apart_close_it(breaker: CircuitBreaker) -> None:
    opened(breaker)
    first = breaker.admit(60.0)
    assert breaker.succeeded(first, 61.0) is None
    assert breaker.admit(62.0) == Admission(admitted=False, retry_at_s=90.0)
    second = breaker.admit(90.0)
    assert second.transition is None
    assert breaker.succeeded(second, 91.0) == Transition("half_open", "closed")
    assert breaker.admit(91.0).admitted


def test_d3_one_probe_at_a_time(breaker: CircuitBreaker) -> None:
    opened(breaker)
    breaker.admit(60.0)
    assert breaker.admit(61.0) == Admission(admitted=False, retry_at_s=90.0)
    assert breaker.admit(150.0) == Admission(admitted=False, retry_at_s=150.0 + PROBE_RETRY_S)


def test_d3_a_failed_probe_opens_it_for_a_minute_again(breaker: CircuitBreaker) -> None:
    opened(breaker)
    breaker.succeeded(breaker.admit(60.0), 61.0)
    assert breaker.failed(breaker.admit(90.0), 91.0) == Transition("half_open", "open")
    assert breaker.retry_at_s(100.0) == 151.0
    breaker.succeeded(breaker.admit(151.0), 152.0)
    assert breaker.state == "half_open", "a success before the failed probe counts no more"


def test_an_abandoned_probe_gives_its_place_back_at_once(breaker: CircuitBreaker) -> None:
    opened(breaker)
    probe = breaker.admit(60.0)
    assert breaker.abandoned(probe, 61.0) is None
    assert breaker.retry_at_s(61.0) == 61.0
    assert breaker.admit(61.0).probe
    breaker.succeeded(probe, 62.0)
    assert not breaker.admit(62.0).admitted, "its outcome says nothing any more"


def test_d3_a_429_leaves_the_count_of_failures_as_it_is(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.abandoned(breaker.admit(0.0), 0.0)
    assert breaker.failed(breaker.admit(0.0), 0.0) == Transition("closed", "open")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "abandoned"])
def test_a_call_from_before_the_opening_says_nothing(breaker: CircuitBreaker, outcome: str) -> None:
    slow = opened(breaker)
    assert getattr(breaker, outcome)(slow, 10.0) is None
    assert breaker.retry_at_s(10.0) == 60.0
    breaker.admit(60.0)
    assert getattr(breaker, outcome)(slow, 61.0) is None
    assert breaker.state == "half_open"
    assert breaker.retry_at_s(61.0) == 90.0


def test_a_call_from_before_the_opening_cannot_open_it_once_it_is_closed_again() -> None:
    breaker = CircuitBreaker(Breaker(failures=1, open_s=60, probe_interval_s=30))
    slow = breaker.admit(0.0)
    breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(60.0), 60.0)
    breaker.succeeded(breaker.admit(90.0), 90.0)
    assert breaker.failed(slow, 91.0) is None
    assert breaker.state == "closed"
    assert breaker.failed(breaker.admit(92.0), 92.0) == Transition("closed", "open")


def test_looking_does_not_move_it(breaker: CircuitBreaker) -> None:
    assert breaker.retry_at_s(3.0) == 3.0
    opened(breaker)
    assert breaker.retry_at_s(70.0) == 70.0
    assert breaker.state == "open"


def test_a_refused_call_has_no_outcome(breaker: CircuitBreaker) -> None:
    opened(breaker)
    refused = breaker.admit(1.0)
    assert breaker.succeeded(refused, 2.0) is None
    assert breaker.failed(refused, 2.0) is None
    assert breaker.state == "open"


def test_d3_the_first_opening_lasts_15_s_and_doubles_to_60_s_while_probes_fail() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    now_s, lasted_s = 0.0, []
    for _ in range(4):
        lasted_s.append(breaker.retry_at_s(now_s) - now_s)
        now_s = breaker.retry_at_s(now_s)
        breaker.failed(breaker.admit(now_s), now_s)
    assert lasted_s == [15, 30, 60, 60]


def test_d3_once_closed_it_opens_for_15_s_again() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    breaker.failed(breaker.admit(15.0), 15.0)
    for now_s in (45.0, 50.0):
        breaker.succeeded(breaker.admit(now_s), now_s)
    assert breaker.state == "closed"
    opened(breaker, 60.0)
    assert breaker.retry_at_s(60.0) == 75.0


def test_an_opening_is_never_shorter_than_the_first_one() -> None:
    breaker = CircuitBreaker(Breaker(open_s=120))
    opened(breaker)
    assert breaker.retry_at_s(0.0) == 120.0


def mixed(breaker: CircuitBreaker, *, successes: int, now_s: float = 0.0) -> None:
    """Opens it after so many good calls and five failed ones."""
    for _ in range(successes):
        breaker.succeeded(breaker.admit(now_s), now_s)
    opened(breaker, now_s)


def test_a_model_that_never_answered_gets_one_trial_in_five_seconds() -> None:
    breaker = CircuitBreaker(Breaker())
    opened(breaker)
    trials_s = []
    for tick in range(1500):
        admission = breaker.admit(now_s := tick / 100, trial=True)
        if admission.admitted:
            trials_s.append(now_s)
            breaker.failed(admission, now_s)
    assert trials_s == [5.0, 10.0]


def test_trials_come_as_often_as_calls_succeeded_lately() -> None:
    good, poor = CircuitBreaker(Breaker()), CircuitBreaker(Breaker())
    mixed(good, successes=15)
    mixed(poor, successes=1)
    assert good.trial_at_s(0.0) < poor.trial_at_s(0.0) < 5


def test_a_provider_that_went_down_is_tried_ever_more_rarely() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=35)
    trials = 0
    for tick in range(1400):
        admission = breaker.admit(now_s := tick / 100, trial=True)
        if admission.admitted:
            trials += 1
            breaker.failed(admission, now_s)
    assert trials <= 10, "five failures a second would have been 70"


def test_two_good_trials_in_a_row_close_it() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=15)
    assert breaker.succeeded(breaker.admit(1.0, trial=True), 1.5) is None
    assert breaker.failed(breaker.admit(2.0, trial=True), 2.5) is None
    assert breaker.succeeded(breaker.admit(4.0, trial=True), 4.5) is None
    stale = breaker.admit(5.0, trial=True)
    assert breaker.succeeded(breaker.admit(6.0, trial=True), 6.5) == Transition("open", "closed")
    assert breaker.failed(stale, 7.0) is None, "it began before the closing"
    assert breaker.state == "closed"


def test_trials_change_nothing_of_when_a_probe_goes() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=15)
    for now_s in (1.0, 2.0, 9.0):
        breaker.failed(breaker.admit(now_s, trial=True), now_s)
    assert breaker.retry_at_s(10.0) == 15.0
    assert breaker.admit(15.0, trial=True).probe


def test_as_many_trials_are_under_way_as_calls_succeeded_lately() -> None:
    breaker = CircuitBreaker(Breaker())
    mixed(breaker, successes=5)
    under_way = sum(breaker.admit(10 + tick / 100, trial=True).admitted for tick in range(400))
    assert under_way == 10, "half of them succeeded"


@pytest.mark.parametrize("probe_first", [True, False])
def test_d3_a_trial_or_probe_that_hangs_keeps_no_other_trial_waiting_for_more_than_five_seconds(
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
