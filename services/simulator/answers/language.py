"""The three languages of the answers, and the sentences that pad an answer to its length."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from services.simulator.answers import tokens

__all__ = ["Language", "detect"]

_CYRILLIC: Final = re.compile(r"[а-яёА-ЯЁ]")
_TURKISH_LETTERS: Final = re.compile(
    r"[ğışĞİŞ]|(?i:\b(?:bir|ve|bu|nedir|neden|nasıl|için|merhaba|kadar|ile|bana|hangi|lütfen)\b)"
)


class Language(Struct, frozen=True):
    name: str
    opening: str
    """Takes `model` and `topic`."""
    images: str
    """Takes `count` and `plural` ("s" or nothing)."""
    result: str
    """Takes `result`, that of a tool."""
    citation: str
    """Takes the `sentence` of a passage, and the `number` of the passage."""
    thought: str
    """Takes `topic`."""
    sentences: tuple[tuple[str, ...], ...]
    """Padding: whole sentences as tokens, one of them short."""
    closings: Mapping[int, tuple[str, ...]]
    """Short padding by its length in tokens, for a remainder that no sentence fits."""
    more: str
    """A word that may precede the full stop of any sentence, for a remainder of one token."""


def _sentences(*texts: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(tokens.split(" " + text)) for text in texts)


def _closings(*texts: str) -> dict[int, tuple[str, ...]]:
    return {len(pieces): pieces for pieces in _sentences(*texts)}


_ENGLISH: Final = Language(
    name="en",
    opening="You asked: “{topic}”. This is {model}.",
    images=" I see {count} image{plural}.",
    result=" The tool answers “{result}”.",
    citation=" The documents say: “{sentence}” [{number}].",
    thought="The question begins with “{topic}”, so I look at it step by step before I answer.",
    sentences=_sentences(
        "Fixed sentences of the simulator fill the answer, up to the length that is asked for.",
        "The simulator writes the same sentences for every question, so that tests can compare answers.",
        "Its length is exact: each word and each punctuation mark counts as one token.",
        "The sentences come from a short and fixed list.",
        "The text has no meaning.",
        "These are sample words.",
    ),
    closings=_closings("Filler.", "More filler.", "Only more filler."),
    more=" here",
)
_RUSSIAN: Final = Language(
    name="ru",
    opening="Вы спросили: «{topic}». Отвечает {model}.",
    images=" Вижу изображения ({count} image{plural}).",
    result=" Инструмент отвечает «{result}».",
    citation=" В документах сказано: «{sentence}» [{number}].",
    thought="Вопрос начинается с «{topic}», поэтому сначала разберу его по шагам.",
    sentences=_sentences(
        "Это имитация ответа: текст дополняет его до длины, которую требует или допускает запрос.",
        "Симулятор пишет одни и те же предложения на любой вопрос, чтобы ответы можно было сравнить.",
        "Длина точна: каждое слово и каждый знак препинания считаются одним токеном.",
        "Ни одну часть текста не написала языковая модель.",
        "Слова здесь ничего не значат.",
        "Это только имитация.",
    ),
    closings=_closings("Текст.", "Снова текст.", "Это снова текст."),
    more=" здесь",
)
_TURKISH: Final = Language(
    name="tr",
    opening="Sorunuz: “{topic}”. Yanıtlayan {model}.",
    images=" Görsel görüyorum ({count} image{plural}).",
    result=" Aracın yanıtı: “{result}”.",
    citation=" Belgelere göre: “{sentence}” [{number}].",
    thought="Soru “{topic}” diye başlıyor, bu yüzden önce adım adım düşünüyorum.",
    sentences=_sentences(
        "Bu, yanıtı istenen uzunluğa tamamlayan simüle edilmiş bir metindir.",
        "Simülatör her soruya aynı cümleleri yazar, böylece yanıtlar bir testte karşılaştırılabilir.",
        "Uzunluk kesindir: her sözcük ve her noktalama işareti bir token sayılır.",
        "Hiçbir bölümünü bir dil modeli yazmadı.",
        "Bunlar örnek sözcüklerdir.",
        "Bu yalnızca simülasyondur.",
    ),
    closings=_closings("Metin.", "Yine metin.", "Bu yine metin."),
    more=" burada",
)


def detect(text: str) -> Language:
    """Russian for Cyrillic, Turkish for Turkish letters or common Turkish words, otherwise English."""
    if text.isascii() and not _TURKISH_LETTERS.search(text):
        return _ENGLISH
    if _CYRILLIC.search(text):
        return _RUSSIAN
    return _TURKISH if _TURKISH_LETTERS.search(text) else _ENGLISH
