from __future__ import annotations

import time

import pytest
import quicktok
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, text_tokens, with_margin

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
    assert text_tokens(text) == pytest.approx(true_tokens, rel=0.25)


SHORT_PROMPTS = {
    "Amharic": "ሰላም እንዴት ነህ?",
    "Armenian": "Բարեւ, ինչպե՞ս ես",
    "Burmese": "မင်္ဂလာပါ နေကောင်းလား။",
    "Cherokee": "ᎣᏏᏲ, ᏙᎯᏧ?",
    "Georgian": "გამარჯობა, როგორ ხარ?",
    "Greek with accents": "Ἐν ἀρχῇ ἦν ὁ λόγος",
    "Hebrew with points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "Khmer": "សួស្តី តើអ្នកសុខសប្បាយទេ?",
    "Lao": "ສະບາຍດີ",
    "Mongolian": "ᠰᠠᠶᠢᠨ",
    "Sinhala": "ආයුබෝවන්, ඔබට කොහොමද?",
    "Syriac": "ܫܠܡܐ ܥܠܝܟ",
    "Thaana": "އައްސަލާމު ޢަލައިކުމް",
    "Tibetan": "བཀྲ་ཤིས་བདེ་ལེགས།",
    "Yoruba": "Báwo ni, ẹ káàárọ̀ o",
    "hieroglyphs": "𓀀𓀁𓀂",
    "hexadecimal": "deadbeefcafebabe0123",
    "mathematics": "∀x∈ℝ: ∃y ∫f(x)dx",
    "emoji": "👩‍👩‍👧‍👦🤚🏾",
    "random": "xQzvKjWpLq9",
}


@pytest.mark.parametrize("script", SHORT_PROMPTS)
def test_f1_what_is_reserved_covers_a_short_prompt_in_any_script(script):
    prompt = SHORT_PROMPTS[script]
    around = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE
    true_tokens = len(quicktok.get_encoding("o200k_base").encode(prompt))
    assert with_margin(round(around + text_tokens(prompt))) >= around + true_tokens


@given(st.text(max_size=6))
def test_f1_what_is_reserved_covers_a_tiny_prompt(prompt):
    true_tokens = len(quicktok.get_encoding("o200k_base").encode(prompt))
    around = TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE
    assert with_margin(round(around + text_tokens(prompt))) >= around + true_tokens


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(first, second):
    assert text_tokens(first + second) >= text_tokens(first) - 1e-9


@pytest.mark.parametrize("text", ["word, number 12; ", "слово и дело, ", "漢字とかな。\n"])
def test_a_long_text_is_counted_as_its_parts_are(text):
    assert text_tokens(text * 40_000) == pytest.approx(40_000 * text_tokens(text), rel=0.01)


def test_half_a_surrogate_pair_has_its_tokens_too():
    assert text_tokens("\ud800") > 0


def test_a_short_prompt_is_cheap_and_a_long_one_bounded():
    prompt = "Explain how a penstock feeds a turbine, in three sentences. " * 4
    begun_s = time.process_time()
    for _ in range(1000):
        text_tokens(prompt)
    assert (time.process_time() - begun_s) / 1000 < 50e-6  # ten times what it takes on an idle machine
    large = "Где ошибка в этой истории? " * 240_000
    begun_s = time.process_time()
    text_tokens(large)
    assert time.process_time() - begun_s < 0.02
