"""D3: which model is called now, waited for, or tried behind its breaker as the last resort."""

from __future__ import annotations

from math import inf

import pytest

from services.worker.models.choose import Choice, Nothing, Standing, Wait, choose, last_resort

NOW_S = 100.0
READY = Standing(0.0)


def of(*standings: Standing) -> Choice | Wait | Nothing:
    named = {f"m{place}": standing for place, standing in enumerate(standings)}
    return choose(tuple(named), named, NOW_S)


def test_the_first_available_model_of_the_chain_is_taken() -> None:
    assert of(READY, READY) == Choice("m0")
    assert of(Standing(160.0, "breaker"), READY) == Choice("m1")
    assert of(Standing(NOW_S, "quota"), READY) == Choice("m0")


def test_c3_otherwise_the_earliest_is_waited_for_and_the_first_of_equals() -> None:
    assert of(Standing(160.0, "breaker"), Standing(105.0, "quota")) == Wait(105.0, "quota", "m1")
    assert of(Standing(105.0, "backoff"), Standing(105.0, "quota")) == Wait(105.0, "backoff", "m0")
    assert of(Standing(inf, "never"), Standing(105.0, "quota")) == Wait(105.0, "quota", "m1")


@pytest.mark.parametrize("reason", ["withdrawn", "excluded", "never"])
def test_a_lasting_reason_is_not_waited_for(reason) -> None:
    assert of(Standing(105.0, reason)) == Nothing(reason)
    assert of(Standing(0.0, reason)) == Nothing(reason)


def test_the_most_informative_reason_is_reported_when_no_model_is_left() -> None:
    assert of(Standing(inf, "withdrawn"), Standing(inf, "excluded")) == Nothing("excluded")
    assert of(Standing(inf, "withdrawn"), Standing(inf, "never")) == Nothing("never")
    assert of(Standing(inf, "backoff")) == Nothing("backoff")
    assert of() == Nothing(None)


OPEN = Standing(160.0, "breaker")


def with_trials(
    standings: dict[str, Standing], trials: dict[str, float], shares: dict[str, float] | None = None
) -> Choice | Wait | Nothing:
    return last_resort(
        choose(tuple(standings), standings, NOW_S),
        standings,
        lambda model: Standing(trials[model], "breaker"),
        lambda model: (shares or {}).get(model, 0.0),
        now_s=NOW_S,
        patience_s=2.0,
    )


def test_a_callable_model_goes_before_a_trial() -> None:
    assert with_trials({"a": OPEN, "b": Standing(0.0)}, {"a": NOW_S}) == Choice("b")


def test_a_model_without_open_breaker_is_waited_for_up_to_wait_s() -> None:
    assert with_trials({"a": OPEN, "b": Standing(101.0, "quota")}, {"a": NOW_S}) == Wait(101.0, "quota", "b")
    assert with_trials({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": NOW_S}) == Choice("a")
    assert with_trials({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": 104.0}) == Wait(
        104.0, "breaker", "a"
    )
    assert with_trials({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": 106.0}) == Wait(105.0, "quota", "b")


def test_of_open_breakers_the_model_with_most_successes_is_tried() -> None:
    both = {"a": NOW_S, "b": NOW_S}
    assert with_trials({"a": OPEN, "b": OPEN}, both) == Choice("a")
    assert with_trials({"a": OPEN, "b": OPEN}, both, {"b": 0.5}) == Choice("b")
    assert with_trials({"a": OPEN, "b": OPEN}, {"a": NOW_S, "b": 101.0}, {"b": 0.5}) == Choice("a")
    assert with_trials({"a": OPEN, "b": OPEN}, {"a": 103.0, "b": 101.0}) == Wait(101.0, "breaker", "b")


def test_an_excluded_model_is_never_the_last_resort() -> None:
    assert with_trials({"a": Standing(inf, "excluded")}, {}) == Nothing("excluded")
    assert with_trials({"a": Standing(inf, "excluded"), "b": OPEN}, {"b": NOW_S}) == Choice("b")
