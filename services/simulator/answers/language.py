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
    thought="The question begins with “{topic}”, so I look at it step by step before I answer.",
    sentences=_sentences(
        "The water runs down the pipe at the pace the wheel can take, and no drop of it is lost.",
        "A gate opens when there is room, it closes when there is none, and the pond keeps the rest.",
        "Each wheel has its own pipe, so one that stands still does not slow the others down.",
        "Nobody has to push it, and nobody has to wait.",
        "The wheel turns on and on.",
        "The pond is calm.",
    ),
    closings=_closings("Always.", "And again.", "So it goes."),
    more=" now",
)
_RUSSIAN: Final = Language(
    name="ru",
    opening="Вы спросили: «{topic}». Отвечает {model}.",
    images=" Вижу изображения ({count} image{plural}).",
    thought="Вопрос начинается с «{topic}», поэтому сначала разберу его по шагам.",
    sentences=_sentences(
        "Вода идёт по трубе так быстро, как её может принять колесо, и ни капли не пропадает.",
        "Затвор открыт, пока есть место, закрыт, когда места нет, а пруд хранит остальное.",
        "У каждого колеса своя труба, и то, что стоит, не задерживает других.",
        "Никто её не торопит, и никто не ждёт.",
        "Колесо вращается дальше.",
        "Пруд спокоен.",
    ),
    closings=_closings("Всегда.", "И снова."),
    more=" теперь",
)
_TURKISH: Final = Language(
    name="tr",
    opening="Sorunuz: “{topic}”. Yanıtlayan {model}.",
    images=" Görsel görüyorum ({count} image{plural}).",
    thought="Soru “{topic}” diye başlıyor, bu yüzden önce adım adım düşünüyorum.",
    sentences=_sentences(
        "Su, çarkın alabileceği hızla borudan akar ve tek damlası bile kaybolmaz.",
        "Yer varken kapak açılır, yer yokken kapanır, kalan su gölette bekler.",
        "Her çarkın kendi borusu vardır, duran bir çark ötekileri yavaşlatmaz.",
        "Kimse acele etmez, kimse boşuna beklemez.",
        "Çark durmadan döner.",
        "Gölet sakindir.",
    ),
    closings=_closings("Hep.", "Ve yine."),
    more=" artık",
)


def detect(text: str) -> Language:
    """Russian for Cyrillic, Turkish for Turkish letters or common Turkish words, otherwise English."""
    if text.isascii() and not _TURKISH_LETTERS.search(text):
        return _ENGLISH
    if _CYRILLIC.search(text):
        return _RUSSIAN
    return _TURKISH if _TURKISH_LETTERS.search(text) else _ENGLISH
