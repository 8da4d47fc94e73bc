"""H3, H4: the arguments of the client for retrieval."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Rag
from penstock.client.arguments import check_conversation, rag_of


@pytest.mark.parametrize(
    "given",
    ["docs", {"collection": "docs"}, Rag(collection="docs")],
)
def test_h3_a_collection_is_named_in_three_ways(given: Any) -> None:
    assert rag_of(given) == Rag(collection="docs")


def test_h3_all_options_are_read() -> None:
    fields = {"collection": "docs", "top_k": 3, "filters": {"language": ["en", "tr"]}, "whole": True}
    assert rag_of(fields) == Rag(collection="docs", top_k=3, filters={"language": ["en", "tr"]}, whole=True)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"collection": "docs", "topk": 3}, "no field 'topk'"),
        ({}, "^rag.collection is missing$"),
        ({"collection": "docs", "top_k": 0}, "^rag.top_k must be at least 1$"),
        (Rag(collection="docs", budget_tokens=1), "^rag.budget_tokens must be at least 50$"),
        ({"collection": 5}, "^rag.collection must be text, not a number$"),
    ],
)
def test_h3_a_wrong_option_is_named(given: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rag_of(given)


def test_h4_a_conversation_needs_a_user() -> None:
    check_conversation("trip", "ann")
    check_conversation("", "")
    with pytest.raises(ValueError, match="needs user"):
        check_conversation("trip", "")
