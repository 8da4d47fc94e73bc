"""Prices: whole micro-dollars per million tokens, or dollars as text."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import Price
from tests.unit.runtime.config.example import load, refused, spoiled

PRICE = "price: {input: 100, output: 200}"


@pytest.mark.parametrize(
    "written",
    [
        "price: {input: 150000, output: 600000, cached_input: 75000}",
        "price: {input: 0.15 USD per million tokens, output: 0.6 USD per million tokens, cached_input: 75000}",
        "price: {input: '0.150 usd  per million tokens', output: 600000, cached_input: 0.075 USD per million tokens}",
    ],
)
def test_both_notations_of_a_price_are_equal(written: str):
    price = Price(input=150_000, output=600_000, cached_input=75_000)
    assert load(spoiled(PRICE, written)).models["large"].price == price


@given(st.integers(0, 10**15))
def test_no_price_is_rounded(micro: int):
    dollars = f"{micro // 10**6}.{micro % 10**6:06}"
    assert Fraction(dollars) * 10**6 == micro
    written = f"price: {{input: {dollars} USD per million tokens}}"
    assert load(spoiled(PRICE, written)).models["large"].price.input == micro


@pytest.mark.parametrize(
    ("written", "key", "problem", "fix"),
    [
        (
            "price: {input: 0.15}",
            "input",
            "the unit is micro-dollars per million tokens",
            "write 150000 or 0.15 USD per million tokens",
        ),
        ("price: {input: 1.5e-1}", "input", "micro-dollars", "write 150000 or 0.15 USD per million tokens"),
        ("price: {input: .inf}", "input", "micro-dollars", "write 150000 or 0.15 USD"),
        ("price: {input: .nan}", "input", "micro-dollars", "write 150000 or 0.15 USD"),
        ("price: 0.15", "", "micro-dollars", "write input: 150000 or input: 0.15 USD per million tokens"),
        ("price: 150000", "", "micro-dollars", "write input: 150000 or input: 0.15 USD per million tokens"),
        ("price: 0.15 USD per million tokens", "", "a mapping", "input:"),
        ("price: {input: 15 cents}", "input", "not a price", "0.15 USD per million tokens"),
        ("price: {input: 0.15 USD}", "input", "not a price", "0.15 USD per million tokens"),
        ("price: {input: 0.15 EUR per million tokens}", "input", "not a price", "USD"),
        ("price: {input: '-1 USD per million tokens'}", "input", "not a price", "USD"),
        ("price: {input: 0.0000001 USD per million tokens}", "input", "finer", "six digits"),
        ("price: {inptu: 0.15 USD per million tokens}", "inptu", "no such key", "input"),
        ("price: {input: true}", "input", "whole number", "whole number"),
    ],
)
def test_an_invalid_price_is_reported_with_both_notations(written: str, key: str, problem: str, fix: str):
    (found,) = refused(spoiled(PRICE, written))
    assert found.key == f"models.large.price.{key}".removesuffix(".")
    assert problem in found.problem
    assert fix in found.fix


def test_f4_a_price_has_its_own_kinds_its_day_and_its_source():
    written = (
        "price: {input: 100, output: 200, cache_write: 0.000125 USD per million tokens, reasoning: 250, audio_input: 7,"
        " audio_output: 8, as_of: 2026-11-29, source: example.com/prices}"
    )
    assert load(spoiled(PRICE, written)).models["large"].price == Price(
        input=100,
        output=200,
        cache_write=125,
        reasoning=250,
        audio_input=7,
        audio_output=8,
        as_of="2026-11-29",
        source="example.com/prices",
    )


def test_f4_a_model_without_a_price_has_none_which_is_not_free():
    assert load(spoiled(PRICE, "context_tokens: 100")).models["large"].price is None
    assert load(spoiled(PRICE, "price: {}")).models["large"].price == Price()


@pytest.mark.parametrize("day", ["2026-13-01", "29.11.2026", "2026-11", "yesterday"])
def test_f4_an_invalid_day_is_reported(day: str):
    (found,) = refused(spoiled(PRICE, f"price: {{input: 100, as_of: {day}}}"))
    assert found.key == "models.large.price.as_of"
    assert "YYYY-MM-DD" in found.fix
