"""Moderation by word lists, in the categories of OpenAI's moderation endpoint."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["moderate"]

_PATTERNS: Final[dict[str, str]] = {
    "harassment": r"\b(?:idiot|moron|loser)s?\b|\bидиот\w*|\baptal\w*",
    "harassment/threatening": r"\bi(?:'ll| will) (?:hurt|beat) you\b|\bя тебя (?:побью|изобью)\b"
    r"|\bseni döver\w*",
    "hate": r"\bhate (?:all|every)\b|\bненавижу (?:всех|этих)\b",
    "hate/threatening": r"\bexterminate (?:all|them)\b|\bистребить (?:всех|их)\b",
    "illicit": r"\b(?:steal a car|launder money|fake passport)\b|\bукрасть машину\b|\baraba çalmak\b",
    "illicit/violent": r"\b(?:build|make) a bomb\b|\b(?:сделать|собрать) бомбу\b|\bbomba (?:yapımı|yapmak)\b",
    "self-harm": r"\bself[- ]harm\b|\bsuicide\b|\bсамоубийств\w*|\bintihar\b",
    "self-harm/intent": r"\bi want to (?:die|kill myself)\b|\bхочу умереть\b|\bölmek istiyorum\b",
    "self-harm/instructions": r"\bhow to (?:kill|harm) myself\b|\bкак (?:убить себя|покончить с собой)\b",
    "sexual": r"\b(?:porn\w*|explicit sex)\b|\bпорно\w*",
    "sexual/minors": r"\bchild porn\w*|\bдетское порно\b",
    "violence": r"\b(?:kill|murder|stab|shoot) (?:him|her|them|someone|people|you)\b"
    r"|\bубить (?:его|её|их|людей)\b|\böldür(?:mek|eceğim)\b|\b(?:build|make) a bomb\b",
    "violence/graphic": r"\b(?:dismember\w*|gore)\b|\bрасчлен\w*",
}
_COMPILED: Final = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}
_HARMLESS: Final = 0.0001


_OF_IMAGES: Final = frozenset(
    {"self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "violence", "violence/graphic"}
)
"""The categories that OpenAI also applies to images; every image is harmless here."""


def moderate(text: str, images: int = 0) -> dict[str, Any]:
    """One entry of the `results` of OpenAI's moderation endpoint."""
    hits = {name: len(pattern.findall(text)) for name, pattern in _COMPILED.items()}
    return {
        "flagged": any(hits.values()),
        "categories": {name: found > 0 for name, found in hits.items()},
        "category_scores": {
            name: 1 - 0.5**found * 0.2 if found else _HARMLESS for name, found in hits.items()
        },
        "category_applied_input_types": {
            name: [*(("text",) if text else ()), *(("image",) if images and name in _OF_IMAGES else ())]
            for name in hits
        },
    }
