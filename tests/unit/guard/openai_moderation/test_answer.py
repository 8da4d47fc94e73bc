"""G1: answers of a moderation endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.contract.guard.policies import CATEGORIES, HAZARD_CATEGORIES
from services.guard.openai_moderation.answer import error_message, read_ratings
from services.guard.remote.rater import CallFailed
from services.simulator.answers.moderation import moderate


def body(*results: Any) -> bytes:
    return json.dumps({"id": "modr-1", "model": "omni-moderation-latest", "results": results}).encode()


def test_g1_the_simulators_answer_is_read_with_every_category():
    harmless, harmful = read_ratings(body(moderate("hello"), moderate("I hate all of them, idiot")), 2)
    assert harmless.flagged == {}
    assert harmless.scores.keys() == set(HAZARD_CATEGORIES)
    assert harmful.flagged.keys() == {"hate", "harassment"}
    assert set(HAZARD_CATEGORIES) < set(CATEGORIES)


def test_g1_null_and_missing_categories_are_not_flagged():
    result = {
        "flagged": True,
        "categories": {"hate": True, "illicit": None},
        "category_scores": {"illicit": None},
    }
    (rating,) = read_ratings(body(result), 1)
    assert rating.flagged == {"hate": 0.0}
    assert rating.scores == {"hate": 0.0, "illicit": 0.0}


def test_g1_a_flag_without_a_known_category_is_not_lost():
    result = {"flagged": True, "categories": {"spam": True}, "category_scores": {"spam": 0.7}}
    assert read_ratings(body(result), 1)[0].flagged == {"illicit": 1.0}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"results": null}',
        body(),
        body({}, {}),
        body({"categories": {"hate": "no"}}),
        body(moderate("a"), moderate("b")),
    ],
)
def test_g2_any_other_answer_is_an_outage(answer: bytes):
    with pytest.raises(CallFailed) as caught:
        read_ratings(answer, 1)
    assert caught.value.kind == "outage"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"error": {"message": "try again in 20s"}}', "try again in 20s"),
        (b'{"error": "no"}', "no"),
        (b'{"error": null}', ""),
        (b"x", ""),
    ],
)
def test_g2_the_message_of_an_error_is_read(answer: bytes, message: str):
    assert error_message(answer) == message
