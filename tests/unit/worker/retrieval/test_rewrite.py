"""Follow-up questions get the subject of the turns before; complete ones stay as they are."""

from __future__ import annotations

import pytest

from services.worker.retrieval.rewrite import complete_question, refers_back


@pytest.mark.parametrize(
    ("earlier", "question", "expected"),
    [
        (
            ["How do I care for a heat pump?"],
            "And in winter?",
            "And in winter? care heat pump",
        ),
        (
            ["Which rules has the mountain hut?"],
            "What does it cost?",
            "What does it cost? rules mountain hut",
        ),
        (["Tell me about the A300"], "Why?", "Why? Tell A300"),
        (["Как часто менять шины?"], "А зимой?", "А зимой? часто менять шины"),
        (["Сколько стоит абонемент в бассейн?"], "Можно ли его заморозить?", None),
        (["Ada vapuru kaçta kalkıyor?"], "Peki kışın?", "Peki kışın? Ada vapuru kaçta kalkıyor"),
        (["Kombi bakımı ne zaman yapılır?"], "Onu kim yapar?", "Onu kim yapar? Kombi bakımı yapılır"),
    ],
)
def test_h3_a_follow_up_gets_the_words_of_the_turn_before(
    earlier: list[str], question: str, expected: str | None
):
    found = complete_question(question, earlier)
    assert found == (expected or "Можно ли его заморозить? стоит абонемент бассейн")


@pytest.mark.parametrize(
    "question",
    [
        "How long is the spend history by hour kept?",
        "Which unit has wind_gust_ms?",
        "E1047?",
        "What does the guard do when it finds a payment card number in this answer?",
        "Как вернуть билет на поезд?",
        "Mercimek çorbası nasıl saklanır?",
    ],
)
def test_h3_a_complete_question_stays_as_it_is(question: str):
    assert complete_question(question, ["Something about bicycles and rain"]) == question


def test_h3_a_chain_of_follow_ups_leads_back_to_the_subject():
    earlier = ["How do I grow tomatoes?", "And on a balcony?", "Why?"]
    assert "tomatoes" in complete_question("And in autumn?", earlier)
    assert "balcony" in complete_question("And in autumn?", earlier)


def test_h3_an_older_subject_is_left_behind():
    earlier = ["How do I grow tomatoes?", "Where is the nearest swimming pool?"]
    assert complete_question("What does it cost?", earlier) == "What does it cost? nearest swimming pool"


def test_h3_words_are_added_once_and_not_too_many():
    long = " ".join(f"subject{n}" for n in range(200))
    added = complete_question("And this one?", [long]).removeprefix("And this one? ").split()
    assert len(added) == len(set(added)) == 12
    assert complete_question("And the pool?", ["the pool, the POOL, the pools"]) == "And the pool?"


@pytest.mark.parametrize("earlier", [[], [""], ["?"]])
def test_h3_without_earlier_words_nothing_is_added(earlier: list[str]):
    assert complete_question("And in winter?", earlier) == "And in winter?"


@pytest.mark.parametrize("text", ["", "???", "\x00\ud800", "and"])
def test_h3_a_turn_without_a_subject_refers_back(text: str):
    assert refers_back(text)
