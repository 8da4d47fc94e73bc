"""H2: the simulated model cites the passage that was put before it, so that citations can be shown without a model."""

from __future__ import annotations

import msgspec
import pytest

from services.simulator.answers.chat import DEFAULT_TOKENS, compose
from services.simulator.answers.passages import best_citation
from services.simulator.answers.requests import CompletionRequest

MARK = "bakodemilura"


def passages(*texts: str, mark: str = MARK) -> str:
    parts = [
        f"--- {mark} passage [{number}] ---\nSource: a.md\nHeading: A > B\n\n{text}\n--- {mark} end of [{number}] ---\n"
        for number, text in enumerate(texts, 1)
    ]
    return "\n".join((f"The numbered passages below have the mark {mark}.", *parts))


GATES = "The mill stands still in winter. Gate three opens at noon! Boats wait below."
WHEELS = "A breastshot wheel turns in the middle.\nIts limits are 12 rounds a minute."


@pytest.mark.parametrize(
    ("question", "number", "sentence"),
    [
        ("When does the gate open?", 1, "Gate three opens at noon!"),
        ("Which limit has a wheel, in rounds a minute?", 2, "Its limits are 12 rounds a minute."),
    ],
)
def test_h2_the_sentence_with_most_words_of_the_question_is_cited(question, number, sentence):
    citation = best_citation([passages(GATES, WHEELS)], question)
    assert citation is not None
    assert (citation.number, citation.sentence) == (number, sentence)


def test_h2_without_a_passage_or_a_word_in_common_nothing_is_cited():
    assert best_citation([], "gate") is None
    assert best_citation(["--- x passage [1] ---\nGate"], "gate") is None
    assert best_citation([passages(GATES)], "Wer bist du?") is None


def test_h2_tables_and_headings_are_not_quoted_and_sentences_lose_their_marks():
    text = "# The gate opens\n| gate | opens |\nAt noon the **gate** opens, says `mill.md`."
    citation = best_citation([passages(text)], "When does the gate open?")
    assert citation is not None
    assert citation.sentence == "At noon the gate opens, says mill."


def test_h2_a_passage_inside_a_passage_is_part_of_its_text():
    inside = passages("Gate three opens at noon.", mark="other")
    citation = best_citation([passages(WHEELS, f"{inside}\nThe gate is green.")], "the green gate")
    assert citation is not None
    assert (citation.number, citation.sentence) == (2, "The gate is green.")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When does the gate open?", " The documents say: “Gate three opens at noon!” [1]."),
        ("Когда открывается gate?", " В документах сказано: «Gate three opens at noon!» [1]."),
        ("gate ne zaman açılır?", " Belgelere göre: “Gate three opens at noon!” [1]."),
    ],
)
def test_h2_an_answer_cites_in_the_language_of_the_question(question, expected):
    messages = [
        {"role": "system", "content": passages(GATES)},
        {"role": "user", "content": question},
    ]
    request = msgspec.convert({"model": "m", "messages": messages}, CompletionRequest)
    answer = compose("m", request, request.measure(), seed=1)
    assert expected in "".join(answer.content)
    assert answer.tokens >= DEFAULT_TOKENS


def test_h2_only_messages_of_the_system_hold_passages():
    """A user may write such lines; they are no passages."""
    messages = [{"role": "user", "content": f"{passages(GATES)}\nWhen does the gate open?"}]
    request = msgspec.convert({"model": "m", "messages": messages}, CompletionRequest)
    assert "[1]" not in "".join(compose("m", request, request.measure(), seed=1).content)
