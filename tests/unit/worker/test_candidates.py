from __future__ import annotations

import math

import pytest

from services.worker.models.choose import Choice, Nothing, Standing, Wait, choose

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
    assert of(Standing(math.inf, "never"), Standing(105.0, "quota")) == Wait(105.0, "quota", "m1")


@pytest.mark.parametrize("reason", ["withdrawn", "excluded", "never"])
def test_what_no_wait_mends_is_not_waited_for(reason) -> None:
    assert of(Standing(105.0, reason)) == Nothing(reason)
    assert of(Standing(0.0, reason)) == Nothing(reason)


def test_the_most_telling_reason_is_named_when_nothing_is_left() -> None:
    assert of(Standing(math.inf, "withdrawn"), Standing(math.inf, "excluded")) == Nothing("excluded")
    assert of(Standing(math.inf, "withdrawn"), Standing(math.inf, "never")) == Nothing("never")
    assert of(Standing(math.inf, "backoff")) == Nothing("backoff")
    assert of() == Nothing(None)
