from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.tokens import Calibration, estimate_input_tokens, estimate_text_tokens

# Counted by hand, by the rules of the vocabulary: 30 tokens.
FIBONACCI = """def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)"""

TOKENIZER_PAGE = (
    "Many words map to one token, but some don't: indivisible.\n\n"
    "Unicode characters like emojis may be split into many tokens containing the underlying bytes: 🤚🏾\n\n"
    "Sequences of characters commonly found next to each other may be grouped together: 1234567890"
)

TRUE_TOKENS = {
    "Hello, my name is GPT-4o. I'm a new type of language model, it's nice to meet you!": 24,
    "Привет, меня зовут GPT-4o. Я — новая языковая модель, приятно познакомиться!": 23,
    "Merhaba, benim adım GPT-4o. Ben yeni bir dil modeli türüyüm, tanıştığımıza memnun oldum!": 30,
    "Hallo, mein Name ist GPT-4o. Ich bin ein neues KI-Sprachmodell. Es ist schön, dich kennenzulernen.": 29,
    "Bonjour, je m'appelle GPT-4o. Je suis un nouveau type de modèle de langage, "
    "c'est un plaisir de vous rencontrer!": 28,
    "Hola, me llamo GPT-4o. Soy un nuevo tipo de modelo de lenguaje, ¡es un placer conocerte!": 26,
    "你好，我的名字是GPT-4o。我是一种新型的语言模型，很高兴见到你!": 24,
    TOKENIZER_PAGE: 53,
    FIBONACCI: 30,
}


@pytest.mark.parametrize(("text", "true_tokens"), TRUE_TOKENS.items())
def test_the_estimate_is_within_a_quarter_of_the_truth(text, true_tokens):
    assert estimate_text_tokens(text) == pytest.approx(true_tokens, rel=0.25)


def body(content: object, **more: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def test_the_json_around_the_text_is_not_counted_as_text():
    short = estimate_input_tokens(json.dumps(body("Hi", temperature=0.2, user="u" * 1000)).encode())
    assert 7 <= short <= 9


def test_escapes_cost_what_their_characters_cost():
    russian = body("Жизнь прекрасна и удивительна. " * 20)
    escaped, plain = json.dumps(russian).encode(), json.dumps(russian, ensure_ascii=False).encode()
    assert estimate_input_tokens(escaped) == estimate_input_tokens(plain)


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_an_image_costs_the_same_whatever_its_size(size):
    url = "data:image/png;base64," + base64.b64encode(b"\x89" * size).decode()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    assert estimate_input_tokens(json.dumps(body(parts)).encode()) == pytest.approx(1_010, abs=5)


def test_tools_and_schemas_are_counted():
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 100, "parameters": {}}}]
    plain = estimate_input_tokens(json.dumps(body("Hi")).encode())
    assert plain + 100 <= estimate_input_tokens(json.dumps(body("Hi", tools=tools)).encode()) <= plain + 180
    assert plain < estimate_input_tokens(
        json.dumps(body("Hi", response_format={"type": "json_object"})).encode()
    )


def test_embedding_input_is_counted_in_all_its_forms():
    def estimate(value: object) -> int:
        return estimate_input_tokens(json.dumps({"model": "m", "input": value}).encode())

    assert estimate("hello there") == estimate(["hello ", "there"])
    assert estimate([1, 2, 3]) - estimate([]) == 3
    assert estimate([[1, 2], [3]]) - estimate([]) == 3


def test_a_body_nobody_would_take_is_guessed_by_its_size_without_its_images():
    odd = body(
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}, {"text": 7}]
    )
    assert estimate_input_tokens(json.dumps(odd).encode()) < 100


@given(st.binary(max_size=200) | st.text().map(lambda text: json.dumps(body(text)).encode()))
def test_there_is_always_an_estimate(anything):
    assert estimate_input_tokens(anything) >= 0


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(first, second):
    assert estimate_text_tokens(first + second) >= estimate_text_tokens(first) - 1e-9


def test_a_short_prompt_is_cheap():
    prompt = json.dumps(body("Explain how a penstock feeds a turbine, in three sentences. " * 4)).encode()
    begun = time.perf_counter()
    for _ in range(1000):
        estimate_input_tokens(prompt)
    assert (time.perf_counter() - begun) / 1000 < 100e-6  # ten times what it takes on an idle machine


def test_calibration_learns_each_model_for_itself():
    calibration = Calibration()
    assert calibration.corrected("a", 100) == 100
    for _ in range(50):
        calibration.observe("a", estimated_tokens=100, true_tokens=150)
    assert calibration.corrected("a", 100) == 150
    assert calibration.factor("b") == 1.0


def test_an_answer_without_usage_teaches_nothing():
    calibration = Calibration()
    calibration.observe("a", estimated_tokens=100, true_tokens=0)
    calibration.observe("a", estimated_tokens=0, true_tokens=100)
    assert calibration.factor("a") == 1.0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))))
def test_calibration_stays_within_its_bounds(observations):
    calibration = Calibration()
    for estimated_tokens, true_tokens in observations:
        calibration.observe("a", estimated_tokens=estimated_tokens, true_tokens=true_tokens)
        assert 0.3 <= calibration.factor("a") <= 3.0
