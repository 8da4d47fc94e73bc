"""D3: which model is called now, waited for, or tried behind its breaker as the last resort."""

from __future__ import annotations

from math import inf

import pytest

from services.worker.models.choose import Choice, ModelState, NoModel, Wait, choose, last_resort

NOW_S = 100.0
READY = ModelState(0.0)


def of(*states: ModelState) -> Choice | Wait | NoModel:
    named = {f"m{place}": state for place, state in enumerate(states)}
    return choose(tuple(named), named, NOW_S)


def test_the_first_available_model_of_the_chain_is_taken() -> None:
    assert of(READY, READY) == Choice("m0")
    assert of(ModelState(160.0, "breaker"), READY) == Choice("m1")
    assert of(ModelState(NOW_S, "quota"), READY) == Choice("m0")


def test_c3_otherwise_the_earliest_is_waited_for_and_the_first_of_equals() -> None:
    assert of(ModelState(160.0, "breaker"), ModelState(105.0, "quota")) == Wait(105.0, "quota", "m1")
    assert of(ModelState(105.0, "backoff"), ModelState(105.0, "quota")) == Wait(105.0, "backoff", "m0")
    assert of(ModelState(inf, "never"), ModelState(105.0, "quota")) == Wait(105.0, "quota", "m1")


@pytest.mark.parametrize("reason", ["withdrawn", "excluded", "never"])
def test_a_lasting_reason_is_not_waited_for(reason) -> None:
    assert of(ModelState(105.0, reason)) == NoModel(reason)
    assert of(ModelState(0.0, reason)) == NoModel(reason)


def test_the_most_informative_reason_is_reported_when_no_model_is_left() -> None:
    assert of(ModelState(inf, "withdrawn"), ModelState(inf, "excluded")) == NoModel("excluded")
    assert of(ModelState(inf, "withdrawn"), ModelState(inf, "never")) == NoModel("never")
    assert of(ModelState(inf, "backoff")) == NoModel("backoff")
    assert of() == NoModel(None)


OPEN = ModelState(160.0, "breaker")


def with_trials(
    states: dict[str, ModelState], trials: dict[str, float], shares: dict[str, float] | None = None
) -> Choice | Wait | NoModel:
    return last_resort(
        choose(tuple(states), states, NOW_S),
        states,
        lambda model: ModelState(trials[model], "breaker"),
        lambda model: (shares or {}).get(model, 0.0),
        now_s=NOW_S,
        max_wait_s=2.0,
    )


def test_a_callable_model_precedes_a_trial() -> None:
    assert with_trials({"a": OPEN, "b": ModelState(0.0)}, {"a": NOW_S}) == Choice("b")


def test_a_model_without_open_breaker_is_waited_for_up_to_wait_s() -> None:
    assert with_trials({"a": OPEN, "b": ModelState(101.0, "quota")}, {"a": NOW_S}) == Wait(
        101.0, "quota", "b"
    )
    assert with_trials({"a": OPEN, "b": ModelState(105.0, "quota")}, {"a": NOW_S}) == Choice("a")
    assert with_trials({"a": OPEN, "b": ModelState(105.0, "quota")}, {"a": 104.0}) == Wait(
        104.0, "breaker", "a"
    )
    assert with_trials({"a": OPEN, "b": ModelState(105.0, "quota")}, {"a": 106.0}) == Wait(
        105.0, "quota", "b"
    )


def test_of_open_breakers_the_model_with_most_successes_is_tried() -> None:
    both = {"a": NOW_S, "b": NOW_S}
    assert with_trials({"a": OPEN, "b": OPEN}, both) == Choice("a")
    assert with_trials({"a": OPEN, "b": OPEN}, both, {"b": 0.5}) == Choice("b")
    assert with_trials({"a": OPEN, "b": OPEN}, {"a": NOW_S, "b": 101.0}, {"b": 0.5}) == Choice("a")
    assert with_trials({"a": OPEN, "b": OPEN}, {"a": 103.0, "b": 101.0}) == Wait(101.0, "breaker", "b")


def test_an_excluded_model_is_never_the_last_resort() -> None:
    assert with_trials({"a": ModelState(inf, "excluded")}, {}) == NoModel("excluded")
    assert with_trials({"a": ModelState(inf, "excluded"), "b": OPEN}, {"b": NOW_S}) == Choice("b")
