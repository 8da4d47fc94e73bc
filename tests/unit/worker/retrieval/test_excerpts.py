"""H3: passages inside the budget, without duplicates, neighbours joined in the order of their document."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from penstock.contract.retrieval.search import Passage
from services.worker.retrieval.excerpts import count_tokens, excerpts_of, whole_documents
from services.worker.retrieval.prompt import cost_of_passage
from tests.unit.worker.retrieval.passages import passage, split_passages

TEXT = "".join(f"Sentence {number} says that the pump has {number} valves. " for number in range(60))
OTHER = TEXT.replace("pump", "mill")


def chosen(
    passages: Sequence[Passage], *, most: int = 10, min_score: float = 0.0, budget_tokens: int = 5_000
) -> tuple[Passage, ...]:
    return excerpts_of(
        passages, most=most, min_score=min_score, budget_tokens=budget_tokens, cost=cost_of_passage
    )


def test_h3_passages_keep_the_order_of_the_search() -> None:
    found = chosen([passage(number, f"Text number {number}.") for number in (3, 1, 2)])
    assert [each.document for each in found] == ["docs/3.md", "docs/1.md", "docs/2.md"]


def test_h3_neighbouring_chunks_become_one_passage_in_the_order_of_the_document() -> None:
    chunks = split_passages(TEXT, 300, 50)
    (joined,) = chosen([chunks[2], chunks[1], chunks[3]])
    assert joined.text == TEXT[chunks[1].start : chunks[3].end]
    assert (joined.start, joined.end) == (chunks[1].start, chunks[3].end)


def test_h3_chunks_with_a_gap_stay_apart() -> None:
    chunks = split_passages(TEXT, 300, 50)
    found = chosen([chunks[5], chunks[1]])
    assert [each.start for each in found] == [chunks[5].start, chunks[1].start]


def test_h3_chunks_whose_texts_do_not_agree_with_their_places_stay_apart() -> None:
    one, other = split_passages(TEXT, 300, 50)[:2]
    wrong = passage(1, "x" * 300, document=one.document, start=other.start, end=other.end)
    assert len(chosen([one, wrong])) == 2


def test_h3_a_joined_passage_has_the_common_heading_and_the_best_score() -> None:
    first = passage(1, "one two", document="d", heading="A > B", start=0, end=7, score=0.4)
    second = passage(2, "three", document="d", heading="A > C", start=8, end=13, score=0.6)
    (joined,) = chosen([second, first])
    assert (joined.heading, joined.score, joined.chunk) == ("A", 0.6, "c2")
    assert joined.text == "one two\nthree"


def test_m2_passages_of_two_pages_stay_apart() -> None:
    first = passage(1, "one two", document="d", page=1, start=0, end=7)
    second = passage(2, "three", document="d", page=2, start=8, end=13)
    third = passage(3, "four", document="d", page=2, start=14, end=18)
    found = chosen([first, second, third])
    assert [(each.text, each.page) for each in found] == [("one two", 1), ("three\nfour", 2)]


def test_h3_the_same_text_is_given_once() -> None:
    found = chosen([passage(1, "The same  text."), passage(2, "The same\ntext."), passage(3, "Another one.")])
    assert [each.document for each in found] == ["docs/1.md", "docs/3.md"]


def test_h3_a_passage_that_does_not_fit_makes_room_for_a_shorter_one() -> None:
    short, long = passage(1, "Short."), passage(2, TEXT)
    found = chosen([short, long, passage(3, "Also short.")], budget_tokens=200)
    assert [each.document for each in found] == ["docs/1.md", "docs/3.md"]


def test_h3_the_first_passage_is_cut_to_the_budget() -> None:
    (cut,) = chosen([passage(1, TEXT, start=0, end=len(TEXT))], budget_tokens=150)
    assert TEXT.startswith(cut.text)
    assert 80 <= len(cut.text) < len(TEXT)
    assert cost_of_passage(cut) <= 150


def test_h3_an_indexer_that_sends_too_much_changes_nothing() -> None:
    found = chosen(
        [
            passage(1, "Too low.", score=0.1),
            passage(2, "No number.", score=nan),
            passage(3, "  "),
            passage(4, "Good.", score=7.0),
            passage(5, "Beyond the number that was asked for."),
        ],
        most=4,
        min_score=0.5,
    )
    assert [(each.document, each.score) for each in found] == [("docs/4.md", 1.0)]


def test_h3_a_whole_collection_is_in_an_order_of_its_own() -> None:
    passages = [*split_passages(OTHER, 300, 50, "b"), *split_passages(TEXT, 400, 10, "a")]
    found = whole_documents(passages, budget_tokens=10_000, cost=cost_of_passage)
    assert found is not None
    assert [(each.document, each.text) for each in found] == [("a", TEXT), ("b", OTHER)]
    assert found == whole_documents(passages[::-1], budget_tokens=10_000, cost=cost_of_passage)


def test_h3_a_whole_collection_beyond_the_budget_is_refused() -> None:
    tokens = count_tokens(TEXT)
    assert whole_documents([passage(1, TEXT)], budget_tokens=tokens, cost=cost_of_passage) is None


def test_h3_the_tokens_of_a_long_text_are_the_same_each_time() -> None:
    long = TEXT * 100
    assert len(long) > 200_000
    assert len({count_tokens(long) for _ in range(5)}) == 1


def test_l8_of_whole_documents_the_same_text_is_given_once() -> None:
    both = [passage(1, "The same  text."), passage(2, "The same\ntext."), passage(3, "Another one.")]
    found = whole_documents(both, budget_tokens=1_000, cost=cost_of_passage)
    assert found is not None
    assert [each.document for each in found] == ["docs/1.md", "docs/3.md"]
