"""Generic secrets: values that are assigned to a name like `password` in code, settings and letters.

A pattern finds a word for a secret with a letter beside a digit not far behind it. The value is then either assigned
(`password = "…"`, `"apiKey": "…"`, `пароль: …`) or a word of the same line that looks generated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place, Search, compiled
from services.guard.secrets.randomness import (
    bits_per_character,
    changes,
    is_hexadecimal,
    is_placeholder,
    is_structured,
)

__all__ = ["ASSIGNMENTS"]

_RANK: Final = 5
_SHORTEST_LOOSE_CHARACTERS: Final = 12
_MOST_NAMES: Final = 3
"""Names before one value that are tried, the nearest first."""
_REACH_CHARACTERS: Final = 80
"""Characters between the name and its value."""
_REACH_BYTES: Final = 2 * _REACH_CHARACTERS
_FARTHEST_CHARACTERS: Final = 80
"""Characters from the end of the name to the value, so that both stand within the context of a stream."""
_LONGEST_CHARACTERS: Final = 512
_LEAST_CHANGES: Final = 0.2
_IDENTIFIER_CHANGES: Final = 0.3
"""Share of neighbours of different sorts (`changes`) in a value that looks generated: of an assigned value, and of one
that may as well be an identifier of a program, because it has no quotes or no assignment."""
_HASH_DISTANCE_CHARACTERS: Final = 24
"""Hexadecimal digits farther from the name of a secret are more likely a hash."""
_NAMES: Final = (
    r"passw(?:or)?d|passphrase|passwort|_pass\b|\bpass\b|\bpwd\b|_pwd\b|secret|token|credential|api[_\-\s]?key|access[_\-\s]?key"
    r"|account[_\-]?key|shared[_\-]?key|[a-z0-9]_key|(?:encryption|signing|master|auth|private|license|app)[_\- ]?key"
    r"|authorization|bearer|\bauth\b|identified by|парол|секрет|токен|(?:^|[^а-яё])ключ"
    r"|şifre|sifre|parola|anahtar|gizli|jeton|belirte[cç]"
)
_LINE: Final = r"[^\n]*?"
_VALUE_LINE: Final = r"[^\n]*?\n[ \t\-]*[\"']?value[\"']?[ \t]*[:=][^\n]*?"
"""Between a name and its value in a list of Kubernetes: `name: DB_PASSWORD`, and `value: …` in the next line."""
_PAIR: Final = r"(?:[A-Za-z][\-_.!%^*+/=?]{0,2}\d|\d[\-_.!%^*+/=?]{0,2}[A-Za-z])"
_ADJACENT: Final = (
    rf"(?:{_PAIR}[!-~]{{5}}|[!-~]{{5}}{_PAIR}|[!-~]{{2}}{_PAIR}[!-~]{{3}}|[!-~]{{3}}{_PAIR}[!-~]{{2}})"
)
"""A letter beside a digit in a word of eight characters or more."""
_NO_SECRET: Final = re.compile(
    r"(?:public|primary|foreign|cache|sort|partition|idempotency|row|object|routing|project|site|publishable|partition|index|next"
    r"|page|continuation|max|min|num|total|prompt|completion|input|output|unique|composite|map|dict|json|s3|redis|ключев)[_\-\s]?\w*$",
    re.IGNORECASE,
)
"""Ends of what stands before the name and of the name itself."""
_NO_VALUE: Final = re.compile(
    r"[\w.\-]*(?:hash|digest|checksum|sha\d*|md5|_id|\bid|ids|name|url|uri|path|file|dir|type|kind|count|len|length|size|limit|ttl"
    r"|age|expir\w*|expires_in|field|column|policy|pattern|regex|version|format|prefix|label|hint|prompt|ref|arn|izer|ization|s_per\w*"
    r"|fingerprint|thumbprint|отпечат\w*|хеш\w*|хэш\w*)[_\-.]?\d*$",
    re.IGNORECASE,
)
_ASSIGNED: Final = re.compile(
    r"(?P<name>[\w.\-]{0,40})\\?[\"'`\])*>]{0,4}(?:\s?\([^)\n]{0,24}\))?"
    r"(?:\s{0,8}(?:=>|:=|==?|:|->|→|—|–|\|)|\s+(?:is|was|are|equals|to|это|is:|by|-)\b|\s+-)\s{0,4}"
    r"(?:[rbfu]{1,2}(?=[\"'])|(?:bearer|basic|token|digest|apikey|api-key|base64:|str|string)[\s:=]+|!\w+\s+)?"
    r"(?P<quote>\\?[\"'`]|[«“‘*]{1,2})?(?:bearer |basic |base64:)?",
    re.IGNORECASE,
)
_VALUE_ELEMENT: Final = re.compile(
    r"[^\n]{0,40}\n[ \t\-]{0,24}\\?[\"']?value\\?[\"']?[ \t]{0,3}[:=][ \t]{0,3}(?P<quote>[\"'])?",
    re.IGNORECASE,
)
_CLOSING: Final = {"«": "»", "“": "”", "‘": "’"}
_BARE: Final = re.compile(r"(?![=:])[^\s\"'`<>«»“”‘’,;(){}\[\]\\|]+")
_TRAILING: Final = ".,:;!?)*…"
_QUERY: Final = re.compile(r"&[\w.\-]+=.*", re.DOTALL)
_OWN_RULE: Final = re.compile(
    r"gh[opsur]_|github_pat_|npm_|gl(?:pat|dt|rt)-|sk-(?:proj|ant|svcacct)-|gsk_|xox[a-z]-|[rs]k_(?:live|test)_|AIza|hf_|eyJ|psk_"
    r"|sk-.{0,19}$|\d{4,10}:|(?:AKIA|ASIA)[0-9A-Z]"
)
_HASH_WORD: Final = re.compile(
    r"commit|sha|hash|md5|digest|checksum|fingerprint|etag|uuid|коммит|хеш|хэш|build|image|blob|ревиз|revision",
    re.IGNORECASE,
)


class _Assignments:
    """The search for assignments: for each letter beside a digit, the names of secrets that stand not far before it."""

    hint: Final = rf"(?i:{_NAMES})(?:{_LINE}|{_VALUE_LINE}){_ADJACENT}"

    def __init__(self) -> None:
        self._regexp = compiled(self.hint)
        self._names = compiled(_NAMES, ignore_case=True)

    def find(self, text: EncodedText) -> Iterator[Found | None]:
        position = 0
        while (match := self._regexp.search(text.data, position)) is not None:
            start, position = match.span(0)
            first = max(start, text.boundary(position - _REACH_BYTES))
            names = [name.span(0) for name in self._names.finditer(text.data, first, position)]
            for name in names[: -_MOST_NAMES - 1 : -1]:
                found = _value_of(text, *name)
                yield found
                if found is not None:
                    position = max(position, found.end)


def _value_of(text: EncodedText, start: int, name_end: int) -> Found | None:
    """The value behind the name of a secret, assigned or loose."""
    if _NO_SECRET.search(text.before(start, 24)) and not _starts_word(text, start):
        return None
    name, following = text[start:name_end], text.after(name_end, _REACH_CHARACTERS + _LONGEST_CHARACTERS)
    if following[:2].lower() == "iz":
        return None  # tokenizer
    place = _assigned(name, following) or _loose(following)
    if place is None or place[0] > _FARTHEST_CHARACTERS:
        return None
    first, last = (name_end + len(following[:end].encode()) for end in place)
    return Found(first, last, "generic_secret", _RANK)


def _starts_word(text: EncodedText, start: int) -> bool:
    return not text.character_before(start).strip(" \t\n\"'(,;:=.[{<")


def _assigned(name: str, following: str) -> tuple[int, int] | None:
    """The value of an assignment that begins directly behind the name."""
    assignment = _ASSIGNED.match(following)
    if assignment is not None:
        if _NO_VALUE.fullmatch(name + assignment["name"]) or assignment["name"].lower().startswith(
            ("izer", "iz")
        ):
            return None
    else:
        assignment = _VALUE_ELEMENT.match(following)
        if assignment is None:
            return None
    quote = (assignment["quote"] or "").strip("*")
    start = assignment.end()
    value = _quoted(following, start, quote) if quote else _bare(following, start)
    if value is None or not _may_be_secret(value):
        return None
    if not quote and following[start + len(value) : start + len(value) + 1] in {"(", "["}:
        return None  # a call
    return (
        (start, start + len(value))
        if _is_generated(value, _IDENTIFIER_CHANGES if not quote and value.isidentifier() else _LEAST_CHANGES)
        else None
    )


def _quoted(following: str, start: int, quote: str) -> str | None:
    closing = _CLOSING.get(quote, quote)
    end = following.find(closing, start, start + _LONGEST_CHARACTERS)
    value = following[start:end] if end > start else ""
    return value if value and not any(character.isspace() for character in value) else None


def _bare(following: str, start: int) -> str | None:
    match = _BARE.match(following, start, start + _LONGEST_CHARACTERS)
    return _QUERY.sub("", match[0]).rstrip(_TRAILING) if match is not None else None


def _loose(following: str) -> tuple[int, int] | None:
    """A word of the same line, not far behind the name, that looks generated."""
    line = following.partition("\n")[0]
    for word in _BARE.finditer(line):
        if word.start() > _FARTHEST_CHARACTERS:
            break
        if len(word[0]) < _SHORTEST_LOOSE_CHARACTERS or word[0].isalpha():
            continue
        whole = value = _QUERY.sub("", word[0]).rstrip(_TRAILING)
        if not _may_be_secret(whole):
            continue
        if _is_pair(whole):  # a setting such as `password.minLength=8` has a short value
            value = whole[max(whole.rstrip("=").rfind("="), whole.rfind(":")) + 1 :]
        start = word.start() + len(whole) - len(value)
        if len(value) < _SHORTEST_LOOSE_CHARACTERS or not _may_be_secret(value):
            continue
        if is_hexadecimal(value) and (start > _HASH_DISTANCE_CHARACTERS or _HASH_WORD.search(line[:start])):
            continue
        if _is_generated(value, _IDENTIFIER_CHANGES):
            return start, start + len(value)
    return None


def _may_be_secret(value: str) -> bool:
    """Not a placeholder, nothing with a meaning of its own, and not in the form of a token that has its own rule: what
    that does not accept is mistyped, shortened or made up.
    """
    return not (is_placeholder(value) or is_structured(value) or _OWN_RULE.match(value))


def _is_pair(value: str) -> bool:
    return re.match(r"[A-Za-z_.\-]{2,40}[=:][^=]", value) is not None


def _is_generated(value: str, least_changes: float) -> bool:
    """Whether a value looks like one of a password generator, or like a password of three sorts of characters."""
    if len(value) < 8 or not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    if not value.isascii():
        return False
    if is_hexadecimal(value):
        return len(value) >= 16 and bits_per_character(value) >= 2.8
    return bits_per_character(value) >= (3.0 if len(value) >= 14 else 2.5) and changes(value) >= least_changes


def _check_option(place: Place) -> Found | None:
    value = place.value
    if is_placeholder(value) or is_structured(value) or not _is_generated(value, _LEAST_CHANGES):
        return None
    return Found(place.start, place.end, "generic_secret", _RANK)


_OPTIONS: Final = (
    Pattern(r"[ \t](?:-u|--user|--proxy-user)[ =]?[\"']?[\w.@\-]{1,64}:([^\s\"'@:]{8,128})", _check_option),
    Pattern(
        r"\b(?:mysql(?:dump|admin)?|mariadb|sshpass|redis-cli)\b[^\n]{0,80}?[ \t]-[pa] ?[\"']?([^\s\"']{8,128})",
        _check_option,
        hint=r"\b(?:mysql(?:dump|admin)?|mariadb|sshpass|redis-cli)\b",
    ),
)
"""Passwords in options of commands: `curl -u user:password`, `mysql -ppassword`."""
ASSIGNMENTS: Final[tuple[Search, ...]] = (_Assignments(), *_OPTIONS)
