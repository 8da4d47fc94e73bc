"""The shapes that give a subject away: code, traces, formulas, and turns of phrase, as expressions.

An expression runs only where one of its needles occurs, so that ordinary prose costs a few substring searches. Every
repetition is bounded: the time over a hostile text stays proportional to its length.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from services.router.vocabulary import Topic

__all__ = ["PHRASES", "SHAPES", "Clue"]


class Clue(Struct, frozen=True, eq=False):
    """One expression, what it speaks for, with how many points, and how to call it before a person."""

    topic: Topic
    points: int
    label: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


def _clue(topic: Topic, points: int, label: str, needles: str, pattern: str) -> Clue:
    return Clue(topic, points, label, tuple(needles.split("|")), re.compile(pattern, re.MULTILINE))


_FILES: Final = (
    "py js ts tsx jsx go rs java cpp hpp cs php rb sql sh yml yaml json toml html css ipynb kt swift vue lua"
)

SHAPES: Final = (
    _clue("code", 3, "a code block", "```", r"```"),
    _clue("code", 1, "inline code", "`", r"`[^`\n]{1,80}`"),
    _clue(
        "code",
        3,
        "a traceback",
        "Traceback|.java:|.js:",
        r"Traceback \(most|\bat [\w.$<>]{1,80} ?\([\w./]{1,80}:\d",
    ),
    _clue("code", 3, "an exception", "Error|Exception", r"\b[A-Z][a-z]\w{0,40}(?:Error|Exception)\b"),
    _clue("code", 3, "`def`", "def ", r"^[ \t]{0,32}(?:async )?def \w{1,60}\("),
    _clue("code", 3, "a class", "class ", r"\bclass [A-Z]\w{0,60} ?(?:[({:]|extends)"),
    _clue(
        "code",
        3,
        "a function",
        "func|fn |lambda",
        r"\b(?:function \w{0,60}\(|func \w{1,60}\(|fn \w{1,60}[(<]|lambda \w{0,20}:)",
    ),
    _clue("code", 1, "`import`", "import ", r"^[ \t]{0,8}import [\w.]{1,60};?$"),
    _clue(
        "code",
        3,
        "`import`",
        "import ",
        r"^[ \t]{0,8}(?:from [\w.]{1,60} import |import [\w.]{1,60} as |import .{1,60} from ['\"])",
    ),
    _clue("code", 3, "`#include`", "#include", r"#include ?[<\"]"),
    _clue(
        "code",
        3,
        "SQL",
        "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER",
        r"\bSELECT\b[^;]{1,200}\bFROM\b|\bINSERT INTO\b|\bUPDATE \w{1,60} SET\b|\bDELETE FROM\b|\b(?:CREATE|ALTER) (?:TABLE|INDEX)\b",
    ),
    _clue(
        "code",
        3,
        "SQL",
        "select ",
        r"\bselect (?:\*|[\w., ]{1,80}) from \w{1,60} (?:where|join|group by|order by|limit)\b",
    ),
    _clue(
        "code",
        2,
        "a file name",
        "|".join("." + end for end in _FILES.split()),
        rf"(?<=[\w-])\.(?:{_FILES.replace(' ', '|')})\b(?![./])",
    ),
    _clue("code", 2, "braces and semicolons", "{|;", r"\)\s{0,8}\{|[;{}][ \t]{0,8}\n[^\n]{0,200}[;{}]|\w\);"),
    _clue("code", 2, "an arrow function", "=>", r"=> ?[\w({\[]"),
    _clue("code", 2, "a declaration", "const |let |var ", r"\b(?:const|let|var) [\w{\[][^=\n]{0,40}= ?\S"),
    _clue(
        "code",
        2,
        "a loop",
        "for |for(|while",
        r"\b(?:for|while) ?\([^)\n]{0,80}[;<>=:]|^\s{0,32}(?:for \w{1,30} in|while) [^\n]{1,80}:$",
    ),
    _clue("code", 2, "a method call", "(", r"\b[A-Za-z_]\w{1,40}\.[a-z_]\w{1,40}\("),
    _clue("code", 2, "a nested call", "(", r"\b[a-z_]\w{2,40}\([\w.]{1,40}[\[(]\w"),
    _clue("code", 2, "a tag", "</", r"</[a-z][\w-]{0,30}>"),
    _clue("code", 2, "a comparison", "==|!=|&&|||", r"\w\)? ?(?:[=!]==?|&&|\|\|) ?[\w\"'(!]"),
    _clue("code", 2, "an order of growth", "O(", r"\bO\((?:n|N|1|log)"),
    _clue(
        "maths",
        2,
        "a formula",
        "\\|$",
        r"\\(?:frac|int|sum|sqrt|lim|cdot|alpha|begin)\b|\$[^$\n]{0,80}[\\^_=][^$\n]{0,80}\$",
    ),
    _clue("maths", 2, "a formula", "∫|∑|√|∀|∃|∞|≤|≥|²|³", r"[∫∑√∀∃∞≤≥²³]"),
)
"""Looked for in the text as it was written."""

_MAKE_EN: Final = (
    r"\b(?:write|implement|create|build|make|generate|fix|debug|optimi[sz]e|add)\b[^.?!\n]{0,40}"
)
_THING_EN: Final = r"\b(?:function|script|method|unit tests?|regex|query|parser|compiler|api|algorithm|linked list|program that)\b"
_MAKE_RU: Final = (
    r"\b(?:напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь)\w{0,3}\b[^.?!\n]{0,40}"
)
_THING_RU: Final = (
    r"\b(?:функци[юи]\b(?! печени)|скрипт|метод|юнит|запрос|парсер|алгоритм|код\b|программу|класс на|тесты)"
)
_MAKE_TR: Final = r"(?:fonksiyon\w{0,6}|kodu?|betik|script\w{0,3}|sorgu\w{0,4}|metot|algoritma|program|sinif) (?:yaz|olustur|hazirla|gelistir|ekle)"
_SIZE_EN: Final = r"(?:older|taller|faster|heavier|younger|shorter|richer|bigger|smaller) than\b"
_SIZE_RU: Final = r"(?:старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче)"
_SIZE_TR: Final = r"(?:buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir)"

PHRASES: Final = (
    _clue(
        "code",
        2,
        "a thing to program",
        "write|implement|create|build|make|generate|fix|debug|optimi|add ",
        _MAKE_EN + _THING_EN,
    ),
    _clue(
        "code",
        1,
        "a programming language",
        "python|rust|swift|ruby|perl|scala|bash|powershell|react",
        r"\b(?:in|using|with|на) (?:python|rust|swift|ruby|perl|scala|bash|powershell|react)\b",
    ),
    _clue("code", 2, "a programming language", "c++|c#|.net", r"\bc\+\+|\bc#|(?<!\w)\.net\b"),
    _clue(
        "code",
        1,
        "a programming language",
        " c | c,| c?",
        r"\b(?:in|this|a|на|с) c (?:program|code|function|compiler)|\b(?:in|на) c[,?]",
    ),
    _clue(
        "code",
        2,
        "a term of programming",
        "linked list|binary|unit test|exit code|stack trace|pull request|data struct|fault|hash map|race cond|memory leak|merge conf",
        r"\b(?:linked list|binary (?:search|tree)|unit tests?|exit code|stack trace|pull request|data structures?|segmentation fault|hash ?map|race condition|memory leak|merge conflict)\b",
    ),
    _clue(
        "code",
        2,
        "a thing to program",
        "напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь",
        _MAKE_RU + _THING_RU,
    ),
    _clue(
        "code",
        1,
        "a programming language",
        "на |в ",
        r"\b(?:на|в) (?:питоне|python|java|go|c|rust|swift|ruby|си|джаве)\b",
    ),
    _clue(
        "code",
        2,
        "a term of programming",
        "базы данн|базу данн|базе данн|связн|двоичн|бинарн|юнит",
        r"\bбаз[ыуе] данных|\bсвязн\w{1,4} спис|\b(?:двоичн|бинарн)\w{1,4} (?:поиск|дерев)|\bюнит.тест",
    ),
    _clue("code", 2, "a thing to program", "yaz|olustur|hazirla|gelistir|ekle", _MAKE_TR),
    _clue(
        "code",
        1,
        "a programming language",
        "python|rust|ruby|swift",
        r"\b(?:python|rust|ruby|swift)(?:'?[dt][ae]| ile| dilinde)\b",
    ),
    _clue(
        "code",
        2,
        "a term of programming",
        "hata ay|birim test|hata kod|bagli liste|ikili ara",
        r"\bhata (?:ayikla|kodu)|\bbirim test|\bbagli liste|\bikili ara",
    ),
    _clue(
        "debugging",
        1,
        "'does not work'",
        "work|не работает|падает",
        r"\b(?:does(?:n't| not)|not|isn't|stopped) work|\bне работает\b",
    ),
    _clue("design", 1, "'trade-offs'", "trade", r"\btrade.?offs?\b"),
    _clue(
        "design", 1, "'step by step'", "step by|пошаг|adim adim", r"\bstep.by.step\b|\bпошагов|\badim adim\b"
    ),
    _clue("maths", 2, "arithmetic", "*|×|÷|^|·", r"(?<![\w.*])\(?\d[\d.,]{0,20}\)? ?[*×÷^·] ?[\d(]"),
    _clue("maths", 2, "arithmetic", "+", r"(?<![\w.+])\(?\d[\d.,]{0,20}\)? ?\+ ?\(?\d"),
    _clue("maths", 1, "arithmetic", " / | - |=", r"\d \)?[/-] \(?\d|\d ?= ?\?"),
    _clue(
        "maths",
        2,
        "an equation",
        "x|y|z|n",
        r"(?<![\w.])\d{0,4}[xyzn] ?(?:[-+=] ?\d+[xyzn]?\b|\^ ?\d)|(?<![\w.])\d{1,4}[xyzn] ?[-+=]|\b[xyzn] ?= ?-?\d",
    ),
    _clue(
        "maths",
        2,
        "a function of x",
        "(",
        r"(?<![.\w])(?:sin|cos|tan|tg|ln|log|lim|exp|sqrt)\(|\b[fgh]'?\([xyt]\) ?=",
    ),
    _clue("maths", 2, "a power", "^", r"\)\^|\b[a-z]\^[\w({-]"),
    _clue("maths", 2, "a percentage", "%|percent|процент", r"\d ?(?:%|percent|процент\w{0,3}) (?:of|от) \d"),
    _clue(
        "maths",
        2,
        "a square root",
        "square root|cube root|prime number",
        r"\b(?:square|cube) root|\bprime number",
    ),
    _clue("maths", 1, "'prove that'", "prove that", r"\bprove that\b"),
    _clue(
        "maths",
        -2,
        "everyday 'integral'",
        "integral p|integral r|integral to",
        r"\bintegral (?:part|role|to)\b",
    ),
    _clue(
        "maths",
        2,
        "'how many … if'",
        "how m",
        r"\bhow (?:many|much)\b(?=[^?]{0,160}\d)[^?]{1,160}\bif\b|\bif\b(?=[^?]{0,160}\d)[^?]{1,200}\bhow (?:many|much)\b",
    ),
    _clue(
        "maths",
        1,
        "a question of quantity",
        "how ",
        r"\bhow (?:many|much|long|far|fast|old)\b[^?]{1,160}\d|\d[^\n]{1,240}\bhow (?:many|much|long|far|fast|old)\b",
    ),
    _clue(
        "maths",
        1,
        "a question of quantity",
        "сколько|каков",
        r"\bсколько\b[^?]{1,160}\d|\d[^\n]{1,240}\b(?:сколько|каков)",
    ),
    _clue("maths", 2, "'чему равно'", "равн", r"\bчему равн\w{1,2}\b"),
    _clue(
        "maths",
        1,
        "a question of quantity",
        "kac",
        r"\bkac\w{0,4}\b[^?]{1,160}\d|\d[^\n]{1,240}\bkac(?:tir|inci)?\b",
    ),
    _clue("maths", 1, "a speed", "km/h|mph|км/ч|km hiz|km/s", r"\d ?(?:km/h|mph|км/ч|km/s|km hiz)"),
    _clue("maths", 2, "a comparison to follow", "er than", rf"\b{_SIZE_EN}[^?]{{1,120}}\b{_SIZE_EN}"),
    _clue(
        "maths",
        2,
        "a comparison to follow",
        "старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче",
        rf"\b{_SIZE_RU}\b[^?]{{1,120}}\b{_SIZE_RU}\b",
    ),
    _clue(
        "maths",
        2,
        "a comparison to follow",
        "buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir",
        rf"[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}\ben {_SIZE_TR}\b|[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}[dt][ae]n (?:daha )?{_SIZE_TR}\b",
    ),
    _clue("maths", 2, "a syllogism", "all ", r"\ball (\w{3,30}) are\b[^?]{1,120}\b\1\b"),
    _clue(
        "maths",
        2,
        "a syllogism",
        "следует ли|значит ли|верно ли",
        r"\bвсе\b[^?]{1,200}\b(?:следует|значит|верно) ли\b",
    ),
    _clue("maths", 1, "a syllogism", "butun |tum ", r"\b(?:butun|tum) \w{3,30}[^?]{1,160}\bm[iu]d[iu]r\b"),
)
"""Looked for in the folded text, where Turkish stands in plain Latin letters."""
