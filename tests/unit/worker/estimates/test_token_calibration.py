"""C1: token estimates, calibrated by the provider's count."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.tokens import text_tokens
from services.simulator.answers.tokens import count
from services.worker.estimates.token_calibration import TokenCalibration


def test_each_model_is_calibrated_separately():
    calibration = TokenCalibration()
    assert calibration.corrected("a", 100) == 100
    for _ in range(50):
        calibration.observe("a", estimated_tokens=100, true_tokens=150)
    assert calibration.corrected("a", 100) == 150
    assert calibration.factor("b") == 1.0


def test_an_answer_without_usage_is_ignored():
    calibration = TokenCalibration()
    calibration.observe("a", estimated_tokens=100, true_tokens=0)
    calibration.observe("a", estimated_tokens=0, true_tokens=100)
    assert calibration.factor("a") == 1.0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))))
def test_the_factor_stays_within_its_bounds(observations):
    calibration = TokenCalibration()
    for estimated_tokens, true_tokens in observations:
        calibration.observe("a", estimated_tokens=estimated_tokens, true_tokens=true_tokens)
        assert 0.3 <= calibration.factor("a") <= 3.0


PIECES = {
    "english": "the|water|falls|through|a|long|pipe|and|turns|every|wheel|with|exactly|what|it|can|take",
    "cyrillic": "вода|падает|по|длинной|трубе|и|вращает|каждое|колесо|ровно|тем|потоком|который|оно|примет",
    "code": "def fall(pipe):|    for wheel in pipe.wheels:|        wheel.turn(flow[0] + 1)|    return {}",
}


def _text(kind: str, dice: random.Random) -> str:
    separator = "\n" if kind == "code" else " "
    return separator.join(dice.choices(PIECES[kind].split("|"), k=dice.randint(20, 200)))


@pytest.mark.parametrize("kind", PIECES)
def test_c1_after_some_answers_the_estimate_is_the_providers_count(kind: str):
    dice, calibration = random.Random(kind), TokenCalibration()
    for _ in range(30):
        text = _text(kind, dice)
        calibration.observe("m", estimated_tokens=round(text_tokens(text)), true_tokens=count(text))
    texts = [_text(kind, dice) for _ in range(50)]
    estimates = [calibration.corrected("m", round(text_tokens(text))) for text in texts]
    for text, estimate in zip(texts, estimates, strict=True):
        assert estimate == pytest.approx(count(text), rel=0.1)


def test_c1_mixed_texts_are_estimated_right_on_average():
    dice, calibration = random.Random(7), TokenCalibration()
    estimated = true = 0
    for number in range(600):
        text = _text(dice.choice(sorted(PIECES)), dice)
        estimate = round(text_tokens(text))
        if number >= 30:
            estimated += calibration.corrected("m", estimate)
            true += count(text)
        calibration.observe("m", estimated_tokens=estimate, true_tokens=count(text))
    assert estimated == pytest.approx(true, rel=0.05)
