"""Reciprocal rank fusion: for all lists, complete, without duplicates, and never against an order that both share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.indexer.search.fusion import RankedList, reciprocal_rank_fusion

KEYS = st.lists(st.integers(0, 20), max_size=15)


def fused(*lists: list[int], k: float = 5.0) -> list[int]:
    return [key for key, _ in reciprocal_rank_fusion([RankedList(keys) for keys in lists], k)]


@given(KEYS, KEYS)
def test_h3_every_key_comes_once(one: list[int], other: list[int]):
    found = fused(one, other)
    assert len(found) == len(set(found))
    assert set(found) == set(one) | set(other)


@given(KEYS, KEYS)
def test_h3_scores_fall(one: list[int], other: list[int]):
    scores = [score for _, score in reciprocal_rank_fusion([RankedList(one), RankedList(other)])]
    assert scores == sorted(scores, reverse=True)


@given(KEYS)
def test_h3_one_list_and_a_list_twice_keep_their_order(keys: list[int]):
    unique = list(dict.fromkeys(keys))
    assert fused(keys) == fused(keys, []) == fused(keys, keys) == unique


@given(KEYS, KEYS)
def test_h3_a_key_that_is_before_another_in_both_lists_stays_before_it(one: list[int], other: list[int]):
    one, other = list(dict.fromkeys(one)), list(dict.fromkeys(other))
    found = fused(one, other)
    both = [key for key in one if key in other]
    for first in both:
        for second in both:
            if one.index(first) < one.index(second) and other.index(first) < other.index(second):
                assert found.index(first) < found.index(second)


@given(KEYS, KEYS)
def test_h3_a_list_without_trust_only_adds_keys(one: list[int], other: list[int]):
    lists = [RankedList(one), RankedList(other, trust=0.0)]
    found = [key for key, _ in reciprocal_rank_fusion(lists)]
    assert found[: len(set(one))] == list(dict.fromkeys(one))
