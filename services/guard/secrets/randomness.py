"""Whether a value looks like a generated secret: not like a word, an identifier, a number, or a placeholder."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from typing import Final

__all__ = ["bits_per_character", "changes", "is_hexadecimal", "is_masked", "is_placeholder", "is_structured"]

_PLACEHOLDER: Final = re.compile(
    r"example|placeholder|change[-_]?me|changeit|your[-_]?|my[-_]?(?:secret|password|token|key|api)|dummy|sample|redacted|masked"
    r"|insert|replace|todo|foobar|lorem|hidden|removed|censored|fill[-_]?in|(?:paste|put)[-_]|goes[-_]here|[-_]here\b|not[-_]?a[-_]?real"
    r"|^test[-_]?(?:key|token|secret|password)?\d*$|^(?:fake|mock|stub)|[-_](?:fake|mock|stub)|a-za-z|a-z0-9|пример|ваш|örnek|buraya"
    r"|passw(?:or)?d|^(?:secret|token|api[-_]?key|apikey|pass|pwd|none|null|true|false|undefined|admin|root|guest)\d{0,4}$"
    r"|\.\.\.|…|x{4,}|\*{3,}|_{4,}|-{4,}|0{8,}|1{8,}|(.)\1{7,}|1234567|abcdef|qwerty|^[<{\[(]|\{\{|<[a-z]|\$\w|\$\{|%s|%\(|process\.env|environ",
    re.IGNORECASE,
)
_STRUCTURED: Final = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"  # a UUID
    r"|\d{4}-\d\d-\d\d(?:[T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{1,2}:\d\d.*"  # a date, a time
    r"|v?\d+(?:\.\d+)+(?:[-+].*)?"  # a version
    r"|[\d.,_+\-/:%]+[a-z]{0,3}"  # a number, with a unit
    r"|[a-z]:\\.*"  # a path of Windows
    r"|[\w./\-]+\.(?:py|js|ts|json|ya?ml|toml|txt|md|pem|key|crt|csv|html?|png|jpg|pdf|log|sh|sql|env|xml|cfg|ini|go|rs|java)"
    r"|[a-z][a-z0-9+.\-]*://.*"  # a URL
    r"|(?:sha\d{1,3}|md5|blake\w*|crc32)[-:=].*"  # a hash that says so
    r"|[0-9a-f]{4}(?::[0-9a-f]{2,4}){3,}"  # a fingerprint, an address
    r"|[^@\s]+@[\w\-]+(?:\.[\w\-]+)+",  # an e-mail address
    re.IGNORECASE,
)
_PATH: Final = re.compile(r"(?:~|\.{1,2})?/[\w./\-]*[a-z]{3}[\w./\-]*")
_MASKED: Final = re.compile(
    r"example|placeholder|your|redacted|change[-_]?me|x{6,}|0{8,}|\*{3,}|\.\.\.|…|(.)\1{7,}|[<{\[$]",
    re.IGNORECASE,
)
_IDENTIFIER_CHANGES: Final = 0.3
_HEXADECIMAL: Final = re.compile(r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)")
_SEPARATORS: Final = re.compile(r"[-_./:\s]+")


def is_placeholder(value: str) -> bool:
    """Whether a person shall put a value in its place, or has made it unreadable."""
    return _PLACEHOLDER.search(value) is not None


def is_masked(value: str) -> bool:
    """Whether a token with a known beginning is none. Fewer words say so than in a placeholder: it is random."""
    return _MASKED.search(value) is not None


def is_structured(value: str) -> bool:
    """Whether it is something with a meaning of its own, that is not secret: a date, a path, an address, a UUID."""
    if _STRUCTURED.fullmatch(value) is not None:
        return True
    return _PATH.fullmatch(value) is not None and changes(value) < _IDENTIFIER_CHANGES


def is_hexadecimal(value: str) -> bool:
    return _HEXADECIMAL.fullmatch(value) is not None


def bits_per_character(value: str) -> float:
    """Shannon's entropy of the characters of a value."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values()) if size else 0.0


def changes(value: str) -> float:
    """The share of neighbours of different sorts (lower case, upper case, digit, other) within the parts of a value
    between separators. Random letters and digits have about 0.6, hexadecimal digits 0.47, identifiers below 0.25.
    """
    pairs = changed = 0
    for part in _SEPARATORS.split(value):
        sorts = [_sort(character) for character in part]
        pairs += max(0, len(sorts) - 1)
        changed += sum(first != second for first, second in itertools.pairwise(sorts))
    return changed / pairs if pairs else 0.0


def _sort(character: str) -> int:
    if character.isdigit():
        return 0
    if character.isalpha():
        return 1 if character.islower() else 2
    return 3
