"""G1: a refusal names the categories, in the language of the request."""

from __future__ import annotations

import pytest

from penstock.contract.guard.places import ContentPlace
from penstock.contract.guard.policies import CATEGORIES, KINDS
from services.worker.guard.refusal_text import refusal_text

NAMES = [*CATEGORIES, *(f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds)]


@pytest.mark.parametrize("language", ["en", "ru", "tr"])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_g1_every_category_has_words_of_its_own_in_each_language(direction, language):
    texts = {name: refusal_text(direction, [name], language) for name in NAMES}
    assert len({texts[name] for name in CATEGORIES}) == len(CATEGORIES)
    assert all("{" not in text for text in texts.values())
    unknown = refusal_text(direction, ["else"], language)
    assert unknown not in texts.values()
    assert refusal_text(direction, [], language) == unknown


def test_g1_an_unknown_language_is_answered_in_english():
    for language in ("", "de", "xx"):
        assert refusal_text("input", ["hate"], language) == refusal_text("input", ["hate"], "en")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "(message 2, tool result in message 3, field stop, …)"),
        ("ru", "(сообщение 2, результат инструмента в сообщении 3, поле stop, …)"),
        ("tr", "(2. mesaj, 3. mesajdaki araç sonucu, stop alanı, …)"),
    ],
)
def test_g1_the_message_says_where_the_first_findings_are(language, words):
    places = (
        ContentPlace(kind="message", number=2),
        ContentPlace(kind="tool_result", number=3),
        ContentPlace(kind="field", name="stop"),
        ContentPlace(kind="field"),
    )
    assert words in refusal_text("input", ["hate"], language, places)
    assert "…" not in refusal_text("input", ["hate"], language, places[:3])


def test_g1_a_category_is_named_once():
    text = refusal_text("input", ["personal_data/email", "personal_data/phone", "hate"], "en")
    assert "personal data, hate speech." in text
