"""The labels of tests/data/retrieval are right: each quote is in its document once, and the levels are as described."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.runtime.retrieval.terms import terms
from tests.harness.retrieval.labelled import (
    LANGUAGES,
    LabelledQuestion,
    cross_language_questions,
    documents,
    questions,
    small_documents,
)


def _words(text: str) -> set[str]:
    return set(terms(text).split())


@pytest.mark.parametrize(
    "asked", questions() + cross_language_questions(), ids=lambda asked: asked.question[:40]
)
def test_h3_the_labels_are_right(asked: LabelledQuestion):
    places = asked.places((documents() | small_documents())[asked.document])
    assert len(places) == 1, f"{asked.document} has the quote {len(places)} times: {asked.quote!r}"
    if asked.paraphrase:
        assert not {word for word in _words(asked.question) & _words(asked.quote) if len(word) > 4}


def test_h3_there_are_enough_questions_of_every_kind():
    asked = questions()
    assert len(asked) == len({each.question for each in asked}) >= 120
    for language in LANGUAGES:
        own = [each for each in asked if each.language == language]
        assert len(own) >= 60
        assert sum(each.held_out for each in own) >= len(own) / 3
        assert sum(each.paraphrase for each in own) >= len(own) / 3
        assert sum(each.document.startswith("docs/") for each in own) >= 4
    assert max(Counter(each.document for each in asked).values()) <= 7


def test_h3_questions_in_another_language_than_their_answer_are_of_every_pair():
    asked = cross_language_questions()
    assert len(asked) == len({each.question for each in asked}) >= 30
    pairs = Counter((each.language, each.document.split("/")[-2]) for each in asked)
    assert set(pairs) == {(one, other) for one in LANGUAGES for other in LANGUAGES if one != other}
    assert min(pairs.values()) >= 5
