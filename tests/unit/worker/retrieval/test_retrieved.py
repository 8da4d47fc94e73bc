"""H3: which passages a reply names."""

from __future__ import annotations

from penstock.contract.retrieval.search import Citation
from services.worker.retrieval.retrieved import NOTHING_RETRIEVED, Retrieved


def retrieved(passages: int) -> Retrieved:
    return Retrieved(
        citations=tuple(
            Citation(number=number, collection="docs", document=f"{number}.md", chunk="c")
            for number in range(1, passages + 1)
        )
    )


def test_h3_all_passages_are_named_and_those_that_are_cited_marked() -> None:
    found = retrieved(3).cited("It starts at noon [2].")
    assert [(each.number, each.cited) for each in found] == [(1, False), (2, True), (3, False)]
    assert NOTHING_RETRIEVED.cited("It starts at noon [2].") == ()


def test_h3_of_very_many_passages_those_that_are_cited_are_named_first() -> None:
    found = retrieved(2_000).cited("It starts at noon [1999] [700].")
    assert len(found) == 500
    assert [each.number for each in found if each.cited] == [700, 1_999]
    assert [each.number for each in found] == [*range(1, 499), 700, 1_999]
