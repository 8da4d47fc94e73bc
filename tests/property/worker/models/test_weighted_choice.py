"""A7: weighted steps keep their shares."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from math import inf, sqrt

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import WeightedStep
from services.worker.models.choose import Choice, ModelState, NoModel, choose
from services.worker.models.weighted_choice import order_by_rank, weighted_order
from tests.harness.suite.examples import examples

DRAWS = 4000
NAMES = "abcdef"


@st.composite
def chains(draw_: st.DrawFn) -> tuple[tuple[str, ...], tuple[WeightedStep, ...]]:
    """A chain with one or two weighted steps."""
    sizes = draw_(st.lists(st.integers(2, 3), min_size=1, max_size=2))
    weights = st.integers(1, 100)
    names = iter("abcdefghijk")
    chain: list[str] = [next(names) for _ in range(draw_(st.integers(0, 2)))]
    steps = []
    for size in sizes:
        models = tuple(next(names) for _ in range(size))
        chain += models
        steps.append(WeightedStep(models=models, weights=tuple(draw_(st.tuples(*[weights] * size)))))
    chain += [next(names) for _ in range(draw_(st.integers(0, 2)))]
    return tuple(chain), tuple(steps)


@settings(max_examples=examples(25), deadline=None)
@given(chains(), st.data())
def test_a7_available_models_share_by_weight(case, data) -> None:
    chain, steps = case
    available = data.draw(st.sets(st.sampled_from(chain), min_size=1), label="available")
    dice = random.Random(data.draw(st.integers(0, 2**32), label="seed"))
    states = {model: ModelState(0.0 if model in available else inf, "ready") for model in chain}

    drawn = Counter[str]()
    for _ in range(DRAWS):
        choice = choose(weighted_order(chain, steps, dice.random), states, 1.0)
        assert isinstance(choice, Choice)
        drawn[choice.model] += 1

    # The first step with an available model gets all requests, by the weights of its available models.
    shares = {model: weight for step in steps for model, weight in step.shares.items()}
    first = next(model for model in chain if model in available)
    step = next((step.models for step in steps if first in step.models), (first,))
    present = {model: shares.get(model, 1) for model in step if model in available}
    assert drawn.keys() <= present.keys()
    for model, weight in present.items():
        part = weight / sum(present.values())
        # Six standard deviations: exceeded by chance once in 500 million.
        assert abs(drawn[model] - DRAWS * part) <= 6 * sqrt(DRAWS * part * (1 - part)) + 1, model


@given(chains(), st.data())
def test_a7_each_step_keeps_its_position_and_its_models(case, data) -> None:
    chain, steps = case
    left = tuple(model for model in chain if model not in data.draw(st.sets(st.sampled_from(chain))))
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    ranks = {model: data.draw(st.integers(0, 2)) for model in left}

    drawn = weighted_order(left, steps, dice.random)
    ordered = order_by_rank(drawn, steps, ranks.__getitem__)

    place = {model: number for number, step in enumerate(steps) for model in step.models}
    for arranged in (drawn, ordered):
        assert sorted(arranged) == sorted(left)
        assert [place.get(model, model) for model in arranged] == [place.get(m, m) for m in left]
    for before, after in pairwise(ordered):
        if place.get(before, before) == place.get(after, after):
            assert ranks[before] <= ranks[after]
            if ranks[before] == ranks[after]:
                assert drawn.index(before) < drawn.index(after)


def test_a7_extreme_random_values_are_valid() -> None:
    step = WeightedStep(models=("a", "b"), weights=(1, 10**15))
    assert set(weighted_order(("a", "b"), (step,), lambda: 0.0)) == {"a", "b"}
    assert set(weighted_order(("a", "b"), (step,), lambda: 1.0 - 2**-53)) == {"a", "b"}


def test_a7_without_an_available_model_the_next_step_is_used() -> None:
    step = WeightedStep(models=("a", "b"), weights=(70, 30))
    chain = weighted_order(("a", "b", "c"), (step,), random.Random(1).random)
    states = {"a": ModelState(inf, "withdrawn"), "b": ModelState(inf, "withdrawn"), "c": ModelState(0.0)}
    assert choose(chain, states, 1.0) == Choice("c")
    assert choose(chain, {**states, "c": ModelState(inf, "never")}, 1.0) == NoModel("never")
