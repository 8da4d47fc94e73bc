"""Phrases of the best-known attacks in English, Russian and Turkish: evidence beside the model."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["has_known_phrase"]

_PHRASES: Final = r"""
  \b(?:ignore|disregard|forget|override)\b .{0,25} \b(?:previous|prior|above|earlier|preceding|system)\b .{0,15}
  \b(?:instructions?|prompts?|rules|directions|guidelines)\b
| \b(?:reveal|print|show|repeat|output|display)\b .{0,20}
  \b(?:system[ ]prompt|hidden[ ]instructions?|initial[ ]instructions?)\b
| \b(?:игнорируй|проигнорируй|забудь|отбрось)\w* .{0,25} \b(?:предыдущ|прошл|прежн|вышеуказанн|системн)\w* .{0,15}
  \b(?:инструкци|указани|правил|промпт)\w*
| \b(?:покажи|выведи|раскрой|повтори|напечатай)\w* .{0,20} \bсистемн\w*[ ](?:промпт|инструкци|подсказк)\w*
| \b(?:önceki|yukarıdaki|daha[ ]önceki|sistem)\b .{0,20} \b(?:talimat|komut|kural|yönerge)\w* .{0,20}
  \b(?:yok[ ]say|unut|görmezden[ ]gel|dikkate[ ]alma|boş[ ]ver)\w*
| \bsistem[ ](?:prompt|komut|istem|mesaj|talimat)\w* .{0,20} \b(?:göster|yaz|söyle|paylaş|açıkla|yazdır)\w*
"""
_KNOWN: Final = re.compile(_PHRASES, re.VERBOSE)


def has_known_phrase(text: str) -> bool:
    """`text` in plain spelling. The gaps of the phrases are bounded, so that the search takes linear time."""
    return _KNOWN.search(text.casefold().replace("\n", " ")) is not None
