"""The places of findings, in texts made of values, words around them and what only looks alike."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.guard.checks import CONTEXT_CHARACTERS
from services.guard.matching import slices
from tests.harness.guard.findings import Both
from tests.harness.guard.synthetic_values import KINDS, near_miss, synthetic

RNG = random.Random(7)
WORDS = (
    *(
        "password",
        "пароль",
        "şifre",
        "token",
        "api_key",
        "ИНН",
        "СНИЛС",
        "паспорт",
        "тел.",
        "phone",
        "SSN",
        "TC kimlik",
    ),
    *("card", "order no", "version", "from", "клиент", "müşteri", "call me", "Подключение", "key", "см. п."),
)
JOINTS = (
    " ",
    " ",
    " ",
    ": ",
    "=",
    "\n",
    ", ",
    '"',
    "'",
    "(",
    ")",
    "; ",
    " — ",
    "/",
    "😀",
    "\t",
    '": "',
    ".",
    ". ",
    "@",
    "+",
)
VALUES = tuple(
    make(kind, RNG) for kind in KINDS for make in (synthetic, synthetic, near_miss) if kind != "private_key"
)
FRAGMENTS = st.one_of(
    st.sampled_from(WORDS), st.sampled_from(JOINTS), st.sampled_from(JOINTS), st.sampled_from(VALUES)
)
TEXTS = st.lists(FRAGMENTS, min_size=1, max_size=30).map("".join)
BLANKS_AND_QUOTES = set(" \t\r\n\"'`«»“”")


@given(text=TEXTS)
def test_g6_findings_do_not_overlap_nor_begin_or_end_with_blanks_or_quotes(both: Both, text: str):
    for matches in both.find(text):
        for match in matches:
            assert 0 <= match.start < match.end <= len(text)
            assert not {text[match.start], text[match.end - 1]} & BLANKS_AND_QUOTES
        for first, second in itertools.pairwise(matches):
            assert first.end <= second.start


@given(text=TEXTS, far=TEXTS)
def test_g6_text_far_before_a_place_does_not_matter(both: Both, text: str, far: str):
    def near(match: object) -> bool:
        return match.start >= CONTEXT_CHARACTERS  # type: ignore[attr-defined]

    alone = both.places(text, near, len(far))
    together = both.places(far + text, lambda match: match.start >= len(far) + CONTEXT_CHARACTERS)
    assert together == alone


@settings(max_examples=20)
@given(texts=st.lists(TEXTS, min_size=5, max_size=20))
def test_g6_a_text_in_slices_has_the_findings_of_the_whole(both: Both, texts: list[str]):
    text = "\n".join(texts)
    whole = both.find(text)
    long, slices._SLICE_CHARACTERS = slices._SLICE_CHARACTERS, 700
    after, slices._AFTER_CHARACTERS = slices._AFTER_CHARACTERS, 500
    try:
        assert both.find(text) == whole
    finally:
        slices._SLICE_CHARACTERS, slices._AFTER_CHARACTERS = long, after
