"""What an application shows its user where the guard stops a request: friendly, and in the user's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.contract.guard.places import ContentPlace
from penstock.contract.guard.policies import Direction
from penstock.runtime.guard.place_words import place_text

__all__ = ["refusal_text"]

_ENGLISH: Final = "en"
_SHOWN_PLACES: Final = 3
_TEXTS: Final[dict[str, dict[Direction, str]]] = {
    "en": {
        "input": "Sorry, this request cannot be answered. The safety check found: {what}{where}. Please change it and"
        " try again.",
        "output": "Sorry, the answer to this request cannot be shown. The safety check found: {what}. Please ask in"
        " another way.",
    },
    "ru": {
        "input": "К сожалению, на этот запрос нельзя ответить. Проверка безопасности обнаружила: {what}{where}."
        " Пожалуйста, измените запрос и попробуйте ещё раз.",
        "output": "К сожалению, ответ на этот запрос нельзя показать. Проверка безопасности обнаружила: {what}."
        " Пожалуйста, задайте вопрос иначе.",
    },
    "tr": {
        "input": "Üzgünüz, bu isteğe yanıt verilemiyor. Güvenlik denetiminde şunlar bulundu: {what}{where}. Lütfen"
        " isteği değiştirip yeniden deneyin.",
        "output": "Üzgünüz, bu isteğin yanıtı gösterilemiyor. Güvenlik denetiminde şunlar bulundu: {what}. Lütfen başka"
        " bir şekilde sorun.",
    },
}
_CATEGORIES: Final[dict[str, dict[str, str]]] = {
    "secrets": {
        "en": "keys or passwords",
        "ru": "ключи или пароли",
        "tr": "anahtarlar veya parolalar",
    },
    "personal_data": {"en": "personal data", "ru": "личные данные", "tr": "kişisel veriler"},
    "prompt_injection": {
        "en": "an attempt to override the instructions of the assistant",
        "ru": "попытка обойти инструкции ассистента",
        "tr": "asistanın talimatlarını aşma girişimi",
    },
    "harassment": {"en": "harassment", "ru": "оскорбления или травля", "tr": "taciz"},
    "harassment/threatening": {
        "en": "harassment with threats",
        "ru": "травля с угрозами",
        "tr": "tehdit içeren taciz",
    },
    "hate": {"en": "hate speech", "ru": "язык вражды", "tr": "nefret söylemi"},
    "hate/threatening": {
        "en": "hate speech with threats",
        "ru": "язык вражды с угрозами",
        "tr": "tehdit içeren nefret söylemi",
    },
    "illicit": {"en": "unlawful activity", "ru": "противоправные действия", "tr": "yasa dışı faaliyet"},
    "illicit/violent": {
        "en": "unlawful activity with violence",
        "ru": "противоправные действия с насилием",
        "tr": "şiddet içeren yasa dışı faaliyet",
    },
    "self-harm": {"en": "self-harm", "ru": "причинение вреда себе", "tr": "kendine zarar verme"},
    "self-harm/intent": {
        "en": "an intention of self-harm",
        "ru": "намерение причинить себе вред",
        "tr": "kendine zarar verme niyeti",
    },
    "self-harm/instructions": {
        "en": "instructions for self-harm",
        "ru": "инструкции по причинению вреда себе",
        "tr": "kendine zarar verme talimatları",
    },
    "sexual": {"en": "sexual content", "ru": "сексуальный контент", "tr": "cinsel içerik"},
    "sexual/minors": {
        "en": "sexual content about minors",
        "ru": "сексуальный контент о несовершеннолетних",
        "tr": "reşit olmayanlarla ilgili cinsel içerik",
    },
    "violence": {"en": "violence", "ru": "насилие", "tr": "şiddet"},
    "violence/graphic": {
        "en": "graphic violence",
        "ru": "натуралистичное насилие",
        "tr": "ayrıntılı şiddet",
    },
}
_OTHER: Final = {"en": "unsafe content", "ru": "небезопасное содержание", "tr": "güvenli olmayan içerik"}


def refusal_text(
    direction: Direction, names: Sequence[str], language: str, places: Sequence[ContentPlace] = ()
) -> str:
    """The message for findings with these names, `personal_data/email` or `hate/threatening`, in `language`. `places`:
    where in the request they are.

    English for any language but `en`, `ru` and `tr`.
    """
    language = language if language in _TEXTS else _ENGLISH
    found = dict.fromkeys(_category(name, language) for name in names) or {_OTHER[language]: None}
    shown = [place_text(each, language) for each in places[:_SHOWN_PLACES]]
    where = f" ({', '.join(shown)}{', …' if len(places) > len(shown) else ''})" if shown else ""
    return _TEXTS[language][direction].format(what=", ".join(found), where=where)


def _category(name: str, language: str) -> str:
    """The category of a finding in words; a kind, which a category of its own has not, is not named."""
    words = _CATEGORIES.get(name) or _CATEGORIES.get(name.partition("/")[0]) or _OTHER
    return words[language]
