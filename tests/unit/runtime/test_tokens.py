from __future__ import annotations

import base64
import random
import time
from pathlib import Path

import pytest
import quicktok
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, text_tokens, with_margin

ROOT = Path(__file__).parents[3]
RANDOM = random.Random(7)
SMALL = "abcdefghijklmnopqrstuvwxyz"


def drawn(characters: str, number: int = 4_000) -> str:
    return "".join(RANDOM.choices(characters, k=number))


def between(first: int, last: int) -> str:
    return drawn("".join(map(chr, range(first, last + 1))))


DENSE = {
    "single letters": " ".join(drawn(SMALL)),
    "lines of a letter": "\n".join(drawn(SMALL)),
    "columns of a letter": "\t".join(drawn(SMALL)),
    "single digits": " ".join(drawn("0123456789")),
    "words of two letters": " ".join(drawn(SMALL, 2) for _ in range(2_000)),
    "words of six letters": " ".join(drawn(SMALL, 6) for _ in range(1_000)),
    "random letters": drawn(SMALL),
    "random capitals": drawn(SMALL.upper()),
    "base64": base64.b64encode(RANDOM.randbytes(6_000)).decode(),
    "hex": RANDOM.randbytes(3_000).hex(),
    "DNA": drawn("ACGT"),
    "single Cyrillic letters": " ".join(drawn("абвгдежзик")),
    "extended Cyrillic": between(0x0460, 0x04FF),
    "Han": between(0x4E00, 0x9FFF),
    "Arabic of other languages": between(0x0671, 0x06D3),
    "Cherokee": between(0x13A0, 0x13F4),
    "Canadian syllabics": between(0x1401, 0x1676),
    "Ethiopic": between(0x1200, 0x1248),
    "combining accents": between(0x300, 0x36F),
    "mathematical signs": between(0x2200, 0x22FF),
    "emoji": between(0x1F300, 0x1F5FF),
}

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


def counted(text: str) -> int:
    return len(quicktok.get_encoding("o200k_base").encode(text))


@pytest.mark.parametrize("kind", DENSE)
def test_f1_what_is_reserved_covers_most_of_text_that_is_dense_in_tokens(kind):
    text = DENSE[kind]
    assert with_margin(round(text_tokens(text))) >= 0.78 * counted(text)


def test_f1_dense_text_cannot_hide_between_the_places_where_a_long_text_is_sampled():
    easy, dense = "the river " * 819, " ".join(drawn(SMALL, 4_096))
    long = (easy + dense * 7) * 16  # 8 Ki characters that are easy, at each sixteenth of the text
    assert with_margin(round(text_tokens(long))) >= 0.75 * counted(long)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "docs/budgets.md", "docs/configuration.md"])
def test_the_estimate_of_english_is_within_a_quarter_of_the_truth(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text_tokens(text) == pytest.approx(counted(text), rel=0.25)


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
