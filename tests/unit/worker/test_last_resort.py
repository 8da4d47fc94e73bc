"""D3: when an open model is tried although its breaker is not closed, and which."""

from __future__ import annotations

from math import inf

from services.worker.models.choose import Choice, Nothing, Standing, Wait, choose, last_resort

NOW_S = 100.0
OPEN = Standing(160.0, "breaker")


def of(
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


def test_a_model_that_can_be_called_is_called() -> None:
    assert of({"a": OPEN, "b": Standing(0.0)}, {"a": NOW_S}) == Choice("b")


def test_one_that_no_breaker_stops_is_waited_for_a_little_and_no_longer() -> None:
    assert of({"a": OPEN, "b": Standing(101.0, "quota")}, {"a": NOW_S}) == Wait(101.0, "quota", "b")
    assert of({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": NOW_S}) == Choice("a")
    assert of({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": 104.0}) == Wait(104.0, "breaker", "a")
    assert of({"a": OPEN, "b": Standing(105.0, "quota")}, {"a": 106.0}) == Wait(105.0, "quota", "b")


def test_of_open_ones_that_of_which_most_calls_succeeded_is_tried() -> None:
    both = {"a": NOW_S, "b": NOW_S}
    assert of({"a": OPEN, "b": OPEN}, both) == Choice("a")
    assert of({"a": OPEN, "b": OPEN}, both, {"b": 0.5}) == Choice("b")
    assert of({"a": OPEN, "b": OPEN}, {"a": NOW_S, "b": 101.0}, {"b": 0.5}) == Choice("a")
    assert of({"a": OPEN, "b": OPEN}, {"a": 103.0, "b": 101.0}) == Wait(101.0, "breaker", "b")


def test_what_is_ruled_out_stays_so() -> None:
    assert of({"a": Standing(inf, "excluded")}, {}) == Nothing("excluded")
    assert of({"a": Standing(inf, "excluded"), "b": OPEN}, {"b": NOW_S}) == Choice("b")
