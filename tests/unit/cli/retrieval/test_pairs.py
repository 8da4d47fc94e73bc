"""H1: metadata and filters on the command line."""

import argparse

import pytest

from penstock.cli.retrieval.pairs import filters_of, parse_pair


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("team=docs", ("team", "docs")),
        ("year=2026", ("year", 2026)),
        ("share=0.5", ("share", 0.5)),
        ("draft=true", ("draft", True)),
        ('version="1.0"', ("version", "1.0")),
        ("formula=a=b", ("formula", "a=b")),
        ("list=[1]", ("list", "[1]")),
        ("none=null", ("none", "null")),
        ("language=türkçe", ("language", "türkçe")),
    ],
)
def test_h1_a_value_is_a_number_a_truth_value_or_text(text, pair):
    key, value = parse_pair(text)
    assert (key, value, type(value)) == (*pair, type(pair[1]))


@pytest.mark.parametrize("text", ["team", "=docs", "team=", " =x"])
def test_h1_anything_else_is_rejected_with_an_example(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not KEY=VALUE, as year=2026"):
        parse_pair(text)


def test_h1_a_key_that_is_named_twice_may_have_either_value():
    assert filters_of([("a", 1), ("b", "x"), ("a", 2)]) == {"a": [1, 2], "b": "x"}
