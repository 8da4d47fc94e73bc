"""Answers cut to the size of a message."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract import codec
from penstock.contract.retrieval.search import DocumentsReport, SearchAnswer

__all__ = ["fits", "fitting_answer", "fitting_report"]


def fits(answer: SearchAnswer | DocumentsReport, max_bytes: int) -> bool:
    return len(codec.encode(answer)) <= max_bytes


def fitting_answer(answer: SearchAnswer, max_bytes: int) -> SearchAnswer:
    """The answer with the first of its passages: half as many until it fits, and one at least."""
    while len(answer.passages) > 1 and not fits(answer, max_bytes):
        answer = replace(answer, passages=answer.passages[: len(answer.passages) // 2])
    return answer


def fitting_report(report: DocumentsReport, max_bytes: int) -> DocumentsReport:
    """The report with the first of its documents, as `fitting_answer`; `more` tells that some were cut off."""
    while len(report.documents) > 1 and not fits(report, max_bytes):
        report = replace(report, documents=report.documents[: len(report.documents) // 2], more=True)
    return report
