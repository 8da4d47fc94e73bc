"""Answers are cut to the size of a message, and keep the best or first of what they have."""

from __future__ import annotations

from penstock.contract.retrieval.search import DocumentsReport, DocumentStatus, Passage, SearchAnswer
from services.indexer.search.message_size import fits, fitting_answer, fitting_report


def answer(*texts: str) -> SearchAnswer:
    passages = tuple(Passage(document=str(index), chunk="c", text=text) for index, text in enumerate(texts))
    return SearchAnswer(passages=passages)


def report(count: int, *, more: bool = False) -> DocumentsReport:
    documents = tuple(DocumentStatus(id=f"{index:04}", title="t" * 100) for index in range(count))
    return DocumentsReport(documents=documents, more=more)


def test_h4_an_answer_that_fits_stays_whole():
    whole = answer("a" * 100, "b" * 100)
    assert fitting_answer(whole, 10_000) == whole


def test_h4_a_large_answer_keeps_its_first_passages():
    cut = fitting_answer(answer(*["x" * 1_000] * 20), 8_000)
    assert [each.document for each in cut.passages] == ["0", "1", "2", "3", "4"]
    assert fits(cut, 8_000)


def test_h4_one_passage_stays_however_large_it_is():
    assert [each.document for each in fitting_answer(answer("x" * 1_000, "y"), 10).passages] == ["0"]


def test_h4_a_report_that_was_cut_tells_that_there_is_more():
    cut = fitting_report(report(100), 8_000)
    assert cut.more
    assert cut.documents == report(100).documents[: len(cut.documents)]
    assert 0 < len(cut.documents) < 100
    assert fits(cut, 8_000)


def test_h4_a_report_that_fits_stays_as_it_is():
    assert fitting_report(report(10), 8_000) == report(10)
    assert fitting_report(report(10, more=True), 8_000).more
