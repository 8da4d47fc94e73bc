"""Fusion of hits: duplicates are one result, and a document does not fill the page alone."""

from __future__ import annotations

from services.indexer.search.fusion import CANDIDATES, fuse_hits
from services.indexer.store.interface import Chunk, Document, Hit


def hit(document: str, chunk: str, terms: str = "asked") -> Hit:
    return Hit(
        document=Document(id=document, digest="d"),
        chunk=Chunk(id=chunk, ordinal=0, text=chunk, terms=terms),
        similarity=0.5,
    )


def ids(found: list[Hit], texts: list[Hit], limit: int, words: tuple[str, ...] = ("asked",)) -> list[str]:
    return [fused.hit.chunk.id for fused in fuse_hits(found, texts, limit, words)]


def test_h3_a_chunk_of_both_lists_comes_first():
    assert ids([hit("a", "1"), hit("b", "2")], [hit("c", "3"), hit("b", "2")], 3) == ["2", "1", "3"]


def test_h3_one_empty_list_leaves_the_order_of_the_other():
    found = [hit("a", "1"), hit("b", "2"), hit("c", "3")]
    assert ids(found, [], 2) == ids([], found, 2) == ["1", "2"]
    assert ids([], [], 5) == []


def test_h3_the_same_text_in_two_documents_is_one_result():
    fused = fuse_hits([hit("a", "1"), hit("copy", "1"), hit("b", "2")], [], 5, ("asked",))
    assert [(item.hit.document.id, item.hit.chunk.id) for item in fused] == [("a", "1"), ("b", "2")]


def test_h3_a_document_leaves_a_place_for_another():
    long = [hit("long", str(number)) for number in range(9)]
    assert ids([*long, hit("other", "x")], [], 5) == ["0", "1", "2", "3", "x"]


def test_h3_places_that_nothing_else_takes_are_filled():
    long = [hit("long", str(number)) for number in range(9)]
    assert ids(long, [], 5) == ["0", "1", "2", "3", "4"]
    assert ids(long, [], 1) == ["0"]


def test_h3_a_chunk_in_the_middle_of_both_lists_comes_before_the_tenth_of_one():
    both, middle = hit("both", "x"), CANDIDATES // 3
    one = [hit(f"a{number}", f"a{number}") for number in range(CANDIDATES)]
    other = [hit(f"b{number}", f"b{number}") for number in range(CANDIDATES)]
    one[middle] = other[middle] = both
    found = ids(one, other, 20)
    assert found.index("x") < found.index("a9")


def test_h3_one_common_word_of_a_question_does_not_come_before_the_nearest_passage():
    water, electricity, leave = hit("ru", "water"), hit("tr", "electricity"), hit("en", "leave", "paid leav")
    by_vector = [water, electricity, hit("en2", "a"), leave, hit("en3", "b")]
    assert ids(by_vector, [leave], 3, ("wate", "bill", "paid"))[0] == "water"


def test_h3_a_passage_with_the_rare_words_of_a_question_comes_before_the_nearest_one():
    code = hit("manual", "code", "e809 vpn")
    by_vector = [hit("a", "1"), hit("b", "2"), code]
    assert ids(by_vector, [code], 3, ("mean", "e809", "vpn"))[0] == "code"
