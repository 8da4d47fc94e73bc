"""Where in a request something was found, in words."""

from __future__ import annotations

from typing import Final

from penstock.contract.guard.places import ContentPlace

__all__ = ["place_text"]

_ENGLISH: Final = "en"
_UNNAMED: Final = "unnamed"
"""A field without a name: all names, keys and addresses of the request, which are checked as one text."""
_WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "message": "message {number}",
        "tool_result": "tool result in message {number}",
        "field": "field {name}",
        _UNNAMED: "names, keys and addresses",
        "passage": "passage {number} of {name}",
        "turn": "earlier turn of {name}",
    },
    "ru": {
        "message": "сообщение {number}",
        "tool_result": "результат инструмента в сообщении {number}",
        "field": "поле {name}",
        _UNNAMED: "имена, ключи и адреса",
        "passage": "фрагмент {number} документа {name}",
        "turn": "прежняя реплика беседы {name}",
    },
    "tr": {
        "message": "{number}. mesaj",
        "tool_result": "{number}. mesajdaki araç sonucu",
        "field": "{name} alanı",
        _UNNAMED: "adlar, anahtarlar ve adresler",
        "passage": "{name} belgesinin {number}. parçası",
        "turn": "{name} konuşmasının önceki bir turu",
    },
}


def place_text(place: ContentPlace, language: str = _ENGLISH) -> str:
    """In `language`; English for any other than `en`, `ru` and `tr`."""
    words = _WORDS.get(language, _WORDS[_ENGLISH])
    key = _UNNAMED if place.kind == "field" and not place.name else place.kind
    return words[key].format(number=place.number, name=place.name)
