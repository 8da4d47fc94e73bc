from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import COMPLEXITIES, Complexity
from penstock.runtime.config.catalogue import Model, Price, RoleConfig, WeightedStep
from penstock.runtime.model_chain import Needs, needs_of, order, shortfall

# The prices of the models of OpenAI's catalogue (A4), in micro-dollars per million tokens.
MODELS = {
    "mini": Model(provider="openai", price=Price(input=150_000, output=600_000), supports_vision=True),
    "turbo": Model(provider="openai", price=Price(input=500_000, output=1_500_000), context_tokens=16_000),
    "heavy": Model(provider="openai", price=Price(input=2_500_000, output=10_000_000), supports_vision=True),
    "twin": Model(provider="other", price=Price(input=600_000, output=150_000), supports_vision=True),
}
CHAIN = RoleConfig(chain=("turbo", "heavy", "mini"))


@pytest.mark.parametrize(
    ("complexity", "expected"),
    [
        ("simple", ("mini", "turbo", "heavy")),
        ("medium", ("turbo", "heavy", "mini")),
        ("complex", ("heavy", "turbo", "mini")),
    ],
)
def test_b2_complexity_picks_an_end_of_the_chain(complexity: Complexity, expected: tuple[str, ...]) -> None:
    assert order(CHAIN, MODELS, complexity, Needs()) == expected


@pytest.mark.parametrize("complexity", COMPLEXITIES)
def test_f4_b2_a_model_without_a_price_is_neither_the_cheapest_nor_the_most_expensive(
    complexity: Complexity,
) -> None:
    models = {**MODELS, "unpriced": Model(provider="openai")}
    role = RoleConfig(chain=("unpriced", "heavy", "mini"))
    first = {"simple": "mini", "medium": "unpriced", "complex": "heavy"}[complexity]
    assert order(role, models, complexity, Needs())[0] == first
    only = RoleConfig(chain=("unpriced",))
    assert order(only, models, complexity, Needs()) == ("unpriced",)


@pytest.mark.parametrize("complexity", COMPLEXITIES)
def test_a_role_may_keep_its_order(complexity: Complexity) -> None:
    role = RoleConfig(chain=CHAIN.chain, order_by_complexity=False)
    assert order(role, MODELS, complexity, Needs()) == CHAIN.chain


@pytest.mark.parametrize("complexity", COMPLEXITIES)
@pytest.mark.parametrize("chain", [("mini", "twin"), ("twin", "mini")])
def test_of_equal_prices_the_first_in_the_chain_is_chosen(
    complexity: Complexity, chain: tuple[str, ...]
) -> None:
    assert order(RoleConfig(chain=chain), MODELS, complexity, Needs()) == chain


def test_models_that_cannot_serve_are_left_out() -> None:
    assert order(CHAIN, MODELS, "medium", Needs(vision=True)) == ("heavy", "mini")
    assert order(CHAIN, MODELS, "medium", Needs(context_tokens=16_000)) == CHAIN.chain
    assert order(CHAIN, MODELS, "medium", Needs(context_tokens=16_001)) == ("heavy", "mini")
    assert order(CHAIN, MODELS, "complex", Needs(context_tokens=128_001)) == ()


def test_an_estimate_that_may_be_too_high_leaves_no_model_out() -> None:
    assert order(CHAIN, MODELS, "medium", needs_of(20_000, vision=False)) == CHAIN.chain
    assert order(CHAIN, MODELS, "medium", needs_of(20_002, vision=True)) == ("heavy", "mini")


@pytest.mark.parametrize(
    ("chain", "needs", "expected"),
    [
        (("turbo", "mini"), Needs(context_tokens=17_000), None),
        (("turbo",), Needs(context_tokens=17_000), "context"),
        (("turbo",), Needs(vision=True), "vision"),
        (("turbo",), Needs(vision=True, context_tokens=17_000), "vision"),
        (("turbo", "mini"), Needs(vision=True, context_tokens=200_000), "context"),
    ],
)
def test_d10_an_empty_chain_can_be_explained(chain, needs, expected) -> None:
    assert shortfall(RoleConfig(chain=chain), MODELS, needs) == expected


models = st.builds(
    Model,
    provider=st.just("p"),
    context_tokens=st.integers(0, 3),
    supports_vision=st.booleans(),
    price=st.builds(Price, input=st.integers(0, 2), output=st.integers(0, 2)),
)


@given(
    st.dictionaries(st.sampled_from("abcdef"), models, min_size=1),
    st.sampled_from(COMPLEXITIES),
    st.builds(Needs, context_tokens=st.integers(0, 3), vision=st.booleans()),
)
def test_exactly_the_able_models_and_only_the_first_moved(catalogue, complexity, needs) -> None:
    role = RoleConfig(chain=tuple(catalogue))
    ordered = order(role, catalogue, complexity, needs)
    assert set(ordered) == {
        key
        for key, model in catalogue.items()
        if model.context_tokens >= needs.context_tokens and model.supports_vision >= needs.vision
    }
    assert list(ordered[1:]) == [key for key in catalogue if key in ordered[1:]]
    assert bool(ordered) == (shortfall(role, catalogue, needs) is None)
    prices = [catalogue[key].price.input + catalogue[key].price.output for key in ordered]
    if complexity == "simple":
        assert not prices or prices[0] == min(prices)
    if complexity == "complex":
        assert not prices or prices[0] == max(prices)


WEIGHTED = RoleConfig(
    chain=("heavy", "mini", "turbo"),
    weighted=(WeightedStep(models=("heavy", "mini"), weights=(1, 9)),),
)


@pytest.mark.parametrize(
    ("complexity", "expected"),
    [
        # On the average of its shares the step costs 1.9 dollars, turbo 2.
        ("simple", ("heavy", "mini", "turbo")),
        ("medium", ("heavy", "mini", "turbo")),
        ("complex", ("turbo", "heavy", "mini")),
    ],
)
def test_a7_b2_a_weighted_step_moves_as_one_by_its_average_price(
    complexity: Complexity, expected: tuple[str, ...]
) -> None:
    assert order(WEIGHTED, MODELS, complexity, Needs()) == expected


def test_a7_a_step_counts_with_the_models_that_can_serve() -> None:
    models = {**MODELS, "mini": Model(provider="openai", context_tokens=10_000, price=Price(input=1))}
    assert order(WEIGHTED, models, "simple", Needs(context_tokens=15_000)) == ("turbo", "heavy")


def test_a7_two_steps_side_by_side_stay_two() -> None:
    role = RoleConfig(
        chain=("mini", "turbo", "heavy", "twin"),
        weighted=(
            WeightedStep(models=("mini", "turbo"), weights=(1, 1)),
            WeightedStep(models=("heavy", "twin"), weights=(1, 1)),
        ),
    )
    assert order(role, MODELS, "complex", Needs()) == ("heavy", "twin", "mini", "turbo")
