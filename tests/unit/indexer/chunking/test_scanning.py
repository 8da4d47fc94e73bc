"""H1: a search of a long text by parts finds what one search of the whole finds."""

from __future__ import annotations

import random
import re

import pytest

from services.indexer.chunking.scanning import matches


@pytest.mark.parametrize("pattern", [r"^# .*$", r"a+b", r"(?<!\s)\s{3,}", r"^.*\n=+$", r"\n"])
@pytest.mark.parametrize("start", [0, 1_000])
def test_h1_matches_over_the_ends_of_parts_are_found(pattern: str, start: int):
    rng = random.Random(2)
    text = "".join(rng.choice(["# a\n", "a", "aab", " ", "   ", "\n", "x\n===\n"]) for _ in range(120_000))
    compiled = re.compile(pattern, re.MULTILINE)
    expected = [each.span() for each in compiled.finditer(text, start, len(text) - 10)]
    assert len(expected) > 500
    assert [each.span() for each in matches(compiled, text, start, len(text) - 10)] == expected


def test_h1_a_match_that_is_too_long_is_cut_off_and_not_found_twice():
    text = "a" * 1_000_000
    found = [each.span() for each in matches(re.compile("a+"), text)]
    assert found[0][0] == 0
    assert found[-1][1] == len(text)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
