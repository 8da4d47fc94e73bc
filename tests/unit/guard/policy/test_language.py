from __future__ import annotations

import pytest

from services.guard.policy.language import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I bake bread?", "en"),
        ("Who is Recep Tayyip Erdoğan, and what did he say in the parliament yesterday?", "en"),
        ("Как испечь хлеб?", "ru"),
        ("Напиши функцию merge_sort(items) на Python и объясни её", "ru"),
        ("Як спекти хліб у духовці? Її ще немає", ""),
        ("Ekmek nasıl yapılır?", "tr"),
        ("bana bir siir yaz lutfen", "tr"),
        ("İstanbul'da hava nasıl?", "tr"),
        ("Merhaba", "tr"),
        ("İzmir", "tr"),
        ("Comment préparer un gâteau très léger à la crème brûlée déjà sucrée ?", ""),
        ("怎么做面包", ""),
        ("12345 !!!", ""),
        ("", ""),
        ("English document. " * 500 + " Кратко перескажи этот текст. " * 60, "ru"),
    ],
)
def test_g1_the_language_of_a_refusal_is_that_of_the_text(text: str, language: str):
    assert language_of(text) == language
