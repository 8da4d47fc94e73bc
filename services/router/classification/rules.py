"""Regular expressions that indicate a topic: code and formulas in the raw text, phrases in the folded text.

In the folded text Turkish is written in plain Latin letters (`normalize.fold`).
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from services.router.classification.vocabulary import Topic

__all__ = ["PATTERNS", "PHRASES", "Needle", "Rule"]

# The tables read best with one rule a line, however long its expression.
# ruff: noqa: E501


class Needle(Struct, frozen=True):
    """Text by which a rule is found: each match, with what it looks behind for, contains a needle of its rule."""

    text: str
    begins_word: bool
    """Where it is part of a match, it is the beginning of a word."""


_REACH: Final = 512
"""No match is longer, with what it looks ahead for."""


class Rule(Struct, frozen=True, eq=False):
    """A regular expression, its topic, its points, and the label shown to a person as evidence.

    It is tried only where one of its needles occurs, so that ordinary prose costs a look-up for most rules.
    """

    topic: Topic
    points: int
    label: str
    needles: tuple[Needle, ...]
    pattern: re.Pattern[str]
    at_needle: bool
    """Every match begins where a needle does."""

    def occurs(self, text: str, needles: list[str]) -> bool:
        """Whether the pattern matches; `needles`: those that are in `text`."""
        if self.at_needle:
            return any(self._matches_at(text, needle) for needle in needles)
        first = min([text.find(needle) for needle in needles])
        last = max([text.rfind(needle) for needle in needles])
        return self.pattern.search(text, max(0, first - _REACH), last + _REACH) is not None

    def _matches_at(self, text: str, needle: str) -> bool:
        at = text.find(needle)
        while at >= 0:
            if self.pattern.match(text, at):
                return True
            at = text.find(needle, at + 1)
        return False


def _rule(
    topic: Topic, points: int, label: str, needles: str, pattern: str, *, at_needle: bool = False
) -> Rule:
    """A rule from `needles` separated by `|`; `^` and `$` in `pattern` match at each line.

    A needle that begins with a letter has to stand at the beginning of a word; write `…` before one that may also be
    inside of a word. With an empty needle the rule is always tried. Keep every repetition bounded, so that the time
    over a hostile text stays proportional to its length. Begin with a needle (`at_needle`), else with the rarest
    character, and look behind from there: the scan for it is the main cost.
    """
    found = tuple(Needle(each.removeprefix("…"), each[:1].isalpha()) for each in needles.split("|"))
    return Rule(topic, points, label, found, re.compile(pattern, re.MULTILINE), at_needle)


# fmt: off

_FILE_ENDINGS: Final = (
    "py js ts tsx jsx go rs java cpp hpp cs php rb sql sh yml yaml json toml html css ipynb kt swift vue lua"
)

_MATHS_CALL: Final = "|".join(
    rf"(?<={name}\()(?<![.\w]{name}\()" for name in ("sin", "cos", "tan", "tg", "ln", "log", "lim", "exp", "sqrt")
)
_NOT_MATHS_CALL: Final = "".join(rf"(?<!{name}\()" for name in ("sin", "cos", "tan", "log", "exp", "qrt"))
_AFTER_LOWER_CASE: Final = "|".join(rf"(?<=\b[a-z]{{{length}}}[A-Z])" for length in range(2, 10))

_AT_LINE_START: Final = "|".join(rf"(?<=^\s{{{spaces}}})" for spaces in range(33))

PATTERNS: Final = (
    _rule("code", 3, "a code block", "```", r"```"),
    _rule("code", 1, "inline code", "`", r"`[^`\n]{1,80}`"),
    _rule("code", 3, "a traceback", "…Traceback|.java:|.kt:|.js:|.ts:|.go:|.py:", r"Traceback \(most|\bat [\w.$<>]{1,80} ?\([\w./]{1,80}\.(?:java|kt|js|ts|go|py):\d"),
    _rule("code", 3, "an exception", "…Error|…Exception", r"\b[A-Z][a-z]\w{0,40}(?:Error|Exception)\b"),
    _rule("code", 3, "`def`", "def ", r"^[ \t]{0,32}(?:async )?def \w{1,60}\("),
    _rule("code", 3, "a class", "class ", r"\bclass [A-Z]\w{0,60} ?(?:[({:]|extends)", at_needle=True),
    _rule("code", 3, "a function", "…function |…function(|…func |…fn |…lambda ", r"(?:function|func|fn) \w{2,60}[(<]|function\((?!s\))|lambda \w{0,20}:", at_needle=True),
    _rule("code", 1, "`import`", "import ", r"^[ \t]{0,8}import [\w.]{1,60};?$"),
    _rule("code", 3, "`import`", "import ", r"^[ \t]{0,8}(?:from [\w.]{1,60} import |import [\w.]{1,60} as |import .{1,60} from ['\"])"),
    _rule("code", 3, "`#include`", "#include", r"#include ?[<\"]"),
    _rule("code", 3, "SQL", "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER", r"\bSELECT\b[^;]{1,200}\bFROM\b|\bINSERT INTO\b|\bUPDATE \w{1,60} SET\b|\bDELETE FROM\b|\b(?:CREATE|ALTER) (?:TABLE|INDEX)\b"),
    _rule("code", 3, "SQL", "select ", r"\bselect (?:\*|[\w., ]{1,80}) from \w{1,60} (?:where|join|group by|order by|limit)\b"),
    _rule("code", 2, "a file name", ".", rf"\.(?<=[\w-]\.)(?:{_FILE_ENDINGS.replace(' ', '|')})\b(?![./])"),
    _rule("code", 2, "braces and semicolons", "{|}|;", r"[{};](?:(?<=\)\{)|(?<=\) \{)|(?<=\w\);)|[ \t]{0,8}\n[^\n]{0,200}[;{}])"),
    _rule("code", 2, "an arrow function", "=>", r"=> ?[\w({\[]"),
    _rule("code", 2, "a declaration", "const |let |var ", r"\b(?:const|let|var) [\w{\[][^=\n]{0,40}= ?\S", at_needle=True),
    _rule("code", 2, "a loop", "for |for(|while", rf"\b(?:for|while) ?\([^)\n]{{0,80}}[;<>=:]|\b(?=(?:for \w{{1,30}} in|while) [^\n]{{1,80}}:$)(?:{_AT_LINE_START})", at_needle=True),
    _rule("code", 2, "a method call", "(", r"\.(?<=\w\.)[a-z_]\w{1,40}\("),
    _rule("code", 2, "a nested call", "(", r"\((?<=[a-z_]\w\w\()" + _NOT_MATHS_CALL + r"[\w.]{1,40}[\[(]\w"),
    _rule("code", 2, "a tag", "</", r"</[a-z][\w-]{0,30}>"),
    _rule("code", 2, "a comparison", "==|!=|&&", r"(?:[=!]==?|&&) ?[\w\"'(!]"),
    _rule("code", 2, "an order of growth", "O(", r"\bO\((?:n|N|1|log)"),
    _rule("maths", 2, "a formula", "\\|$", r"\\(?:frac|int|sum|sqrt|lim|cdot|alpha|begin)\b|\$[^$\n]{0,80}[\\^_=][^$\n]{0,80}\$"),
    _rule("maths", 2, "a formula", "∫|∑|√|∀|∃|∞|≤|≥|²|³", r"[∫∑√∀∃∞≤≥²³]"),
    _rule("code", 1, "a name in camel case", "", rf"[A-Z](?:{_AFTER_LOWER_CASE})[a-z]\w"),
    _rule("code", 1, "a name in snake case", "_", r"_(?<=[a-z]_)[a-z]\w{1,40}\b"),
)

_NOT_A_FLAT: Final = r"(?! (?:daire|ev\b|oda|kiral|satil))"
"""Excludes Turkish flat sizes, which are written 3+1."""
_MAKE_EN: Final = r"\b(?:write|implement|create|build|make|generate|fix|debug|optimi[sz]e|add)\b[^.?!\n]{0,40}"
_THING_EN: Final = r"\b(?:function|script|method|unit tests?|regex|query|parser|compiler|api|algorithm|linked list|program that)\b"
_MAKE_RU: Final = r"\b(?:напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь)\w{0,3}\b[^.?!\n]{0,40}"
_THING_RU: Final = r"\b(?:функци[юи]\b(?! печени)|скрипт|метод|юнит|запрос|парсер|алгоритм|код\b|программу,? котор|класс на|тесты)"
_MAKE_TR: Final = r"(?:fonksiyon\w{0,6}|kodu?|betik|script\w{0,3}|sorgu\w{0,4}|metot|algoritma|program|sinif) (?:yaz|olustur|hazirla|gelistir|ekle)"
_SIZES_EN: Final = ("older", "taller", "faster", "heavier", "younger", "shorter", "richer", "bigger", "smaller")
_SIZE_EN: Final = rf"(?:{'|'.join(_SIZES_EN)}) than\b"
_AFTER_SIZE_EN: Final = "|".join(rf"(?<=\b{size} than)" for size in _SIZES_EN)
_SIZE_RU: Final = r"(?:старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче)"
_SIZE_TR: Final = r"(?:buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir)"

PHRASES: Final = (
    _rule("code", 2, "a programming task", "write|implement|create|build|make|generate|fix|debug|optimi|add", _MAKE_EN + _THING_EN, at_needle=True),
    _rule("code", 1, "a programming language", "python|rust|swift|ruby|perl|scala|bash|powershell|react", r"(?:(?<=\bin )|(?<=\busing )|(?<=\bwith )|(?<=\bна ))(?:python|rust|swift|ruby|perl|scala|bash|powershell|react)\b", at_needle=True),
    _rule("code", 1, "a programming language", "…python|…rust|…ruby|…swift", r"(?:python|rust|ruby|swift)(?:'?[dt][ae]| ile)\b", at_needle=True),
    _rule("code", 2, "a programming language", "c++|c#|.net", r"\bc\+\+|\bc#|(?<!\w)\.net\b", at_needle=True),
    _rule("code", 1, "a programming language", " c | c,| c?", r"\b(?:in|this|a|на|с) c (?:program|code|function|compiler)|\b(?:in|на) c[,?]"),
    _rule("code", 2, "a programming term", "linked list|binary|unit test|exit code|stack trace|pull request|data struct|segmentation fault|hash map|hashmap|race cond|memory leak|merge conf", r"\b(?:linked list|binary (?:search|tree)|unit tests?|exit code|stack trace|pull request|data structures?|segmentation fault|hash ?map|race condition|memory leak|merge conflict)\b", at_needle=True),
    _rule("code", 2, "a programming task", "напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь", _MAKE_RU + _THING_RU, at_needle=True),
    _rule("code", 1, "a programming language", "на |в ", r"\b(?:на|в) (?:питоне|python|java|go|c|rust|swift|ruby|си|джаве)\b", at_needle=True),
    _rule("code", 2, "a programming term", "базы данн|базу данн|базе данн|связн|двоичн|бинарн|юнит", r"\bбаз[ыуе] данных|\bсвязн\w{1,4} спис|\b(?:двоичн|бинарн)\w{1,4} (?:поиск|дерев)|\bюнит.тест", at_needle=True),
    _rule("code", 2, "a programming task", "yaz|olustur|hazirla|gelistir|ekle", _MAKE_TR),
    _rule("code", 2, "a programming term", "hata ay|birim test|hata kod|bagli liste|ikili ara", r"\bhata (?:ayikla|kodu)|\bbirim test|\bbagli liste|\bikili ara", at_needle=True),
    _rule("debugging", 1, "'does not work'", "not work|…n't work|stopped work|не работает", r"\b(?:does(?:n't| not)|not|isn't|stopped) work|\bне работает\b"),
    _rule("design", 1, "'trade-offs'", "trade", r"\btrade.?offs?\b", at_needle=True),
    _rule("design", 1, "'step by step'", "step|пошаг|adim adim", r"\bstep.by.step\b|\bпошагов|\badim adim\b", at_needle=True),
    _rule("maths", 2, "arithmetic", "*|×|÷|^|·", r"[*×÷^·](?:(?<=[\d)].)|(?<=[\d)] .))(?: ?\d|\()", at_needle=True),
    _rule("maths", 2, "arithmetic", "+", rf"\+(?:(?<=[\d)]\+)|(?<=[\d)] \+)) ?\(?\d{_NOT_A_FLAT}"),
    _rule("maths", 1, "arithmetic", " / | - |=", r"\d [/-] \(?\d|\d ?= ?\?"),
    _rule("maths", 2, "an equation", "=|+|-|^", r"[xyzn](?:(?<![a-z_.][xyzn]) ?(?:\^ ?\d|= ?-?\d|[-+] ?\d{1,6}[^\n]{0,20}=)|(?<=\d[xyzn]) ?[-+=^])"),
    _rule("maths", 2, "a function of x", "sin(|cos(|tan(|tg(|ln(|log(|lim(|exp(|sqrt(|(x) =|(t) =|(y) =", rf"\((?:{_MATHS_CALL}|(?:(?<=\b[fgh]\()|(?<=\b[fgh]'\())[xyt]\) =)"),
    _rule("maths", 2, "a power", "^", r"\^(?:(?<=\)\^)|(?<=\b[a-z]\^)[\w({-])"),
    _rule("maths", 2, "a percentage", "%|…percent|…процент", r"(?:(?<=\d)|(?<=\d ))(?:%|percent|процент\w{0,3}) (?:of|от) \d", at_needle=True),
    _rule("maths", 2, "a square root", "square root|cube root|prime number", r"\b(?:square|cube) root|\bprime number", at_needle=True),
    _rule("maths", 1, "'prove that'", "prove that", r"\bprove that\b", at_needle=True),
    _rule("maths", -2, "everyday 'integral'", "integral p|integral r|integral to", r"\bintegral (?:part|role|to)\b", at_needle=True),
    _rule("maths", 2, "'how many … if'", "how m", r"\bhow (?:many|much)\b(?=[^?]{0,160}\d)[^?]{1,160}\bif\b|\bif\b(?=[^?]{0,160}\d)[^?]{1,200}\bhow (?:many|much)\b"),
    _rule("maths", 1, "a question of quantity", "how many|how much|how long|how far|how fast|how old", r"\bhow (?:many|much|long|far|fast|old)\b[^?]{1,160}\d|\d[^\n]{1,240}\bhow (?:many|much|long|far|fast|old)\b"),
    _rule("maths", 1, "a question of quantity", "сколько|каков", r"\bсколько\b[^?]{1,160}\d|\d[^\n]{1,240}\b(?:сколько|каков)"),
    _rule("maths", 2, "'чему равно'", "равн", r"\bчему равн\w{1,2}\b"),
    _rule("maths", 1, "a question of quantity", "kac", r"\bkac\w{0,4}\b[^?]{1,160}\d|\d[^\n]{1,240}\bkac(?:tir|inci)?\b"),
    _rule("maths", 1, "a speed", "…km/h|…mph|…км/ч|…km hiz|…km/s", r"\d ?(?:km/h|mph|км/ч|km/s|km hiz)"),
    _rule("maths", 1, "two speeds", "…km/h|…mph|…км/ч|…km/s", r"\d ?(km/h|mph|км/ч|km/s)\b[^?\n]{1,160}\d ?\1"),
    _rule("maths", 2, "a comparison to follow", "…er than", rf"er than\b(?:{_AFTER_SIZE_EN})[^?]{{1,120}}\b{_SIZE_EN}", at_needle=True),
    _rule("maths", 2, "a comparison to follow", "старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче", rf"\b{_SIZE_RU}\b[^?]{{1,120}}\b{_SIZE_RU}\b", at_needle=True),
    _rule("maths", 2, "a comparison to follow", "buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir", rf"[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}\ben {_SIZE_TR}\b|[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}[dt][ae]n (?:daha )?{_SIZE_TR}\b"),
    _rule("maths", 2, "a syllogism", "all ", r"\ball (\w{3,30}) are\b[^?]{1,120}\b\1\b", at_needle=True),
    _rule("maths", 2, "a syllogism", "следует ли|значит ли|верно ли", r"\bвсе\b[^?]{1,200}\b(?:следует|значит|верно) ли\b"),
    _rule("maths", 1, "a syllogism", "butun |tum ", r"\b(?:butun|tum) \w{3,30}[^?]{1,160}\bm[iu]d[iu]r\b", at_needle=True),
    _rule("code", 2, "some code at hand", "this code|этот код|этом код|этого код|bu kod", r"\bthis code\b|\bэт(?:от|ом|ого) код[еа]?\b|\bbu kod(?:u|da|un)?\b", at_needle=True),
    _rule("code", 2, "a programming term", "last commit|let and|telegram bot|discord bot|web page|landing page", r"\blast commit\b|\blet and (?:var|const)\b|\b(?:telegram|discord) bot\b|\b(?:web|landing) page\b", at_needle=True),
    _rule("maths", 2, "a kind of number", "prime|прост|натуральн|asal|dogal say|tam say", r"\bis \d{1,12} (?:a )?prime\b|\b(?:прост|натуральн)\w{1,3} чис|\basal say|\bdogal say|\basal mi"),
    _rule("maths", 1, "a series", ",", r",(?<=\d,)(?: \d{1,9}|\d{1,2}), ?\d"),
    _rule("maths", 1, "a series to continue", "…продолжи ряд|…devam ettir|…next number|…next term", r"продолжи ряд|devam ettir|next (?:number|term)", at_needle=True),
    _rule("maths", 2, "'all but'", "all but ", r"\ball but \w{1,20} (?:die|left|run|escape)", at_needle=True),
    _rule("code", 2, "a programming term", "…регулярн|…duzenli ifade", r"регулярн\w{1,3} выражен|duzenli ifade", at_needle=True),
    _rule("maths", 1, "a figure to compute", "calculate|compute|work out|вычисли|посчитай|рассчитай|hesapla", r"\b(?:calculate|compute|work out|вычисли|посчитай|рассчитай)\b[^?\n]{0,80}\d|\d[^?\n]{0,80}\bhesapla"),
    _rule("maths", 1, "a percentage in question", "%", r"%(?:(?<=\d%)|(?<=\d %)| ?\d)[^?]{1,160}\b(?:how much|what (?:is|was|will)|сколько|kac)", at_needle=True),
    _rule("maths", 2, "ways to count", "ways|способами|sekilde|yolla", r"\bhow many (?:different |possible )?ways\b|сколькими (?:различными |разными )?способами|\bkac (?:farkli |degisik )?(?:sekilde|yolla)"),
    _rule("maths", 2, "an expression", "+|-", r"[-+] ?(?:[a-z]\)(?:(?<=\([a-z][-+][a-z]\))|(?<=\([a-z] [-+] [a-z]\)))|[xyz] ?= ?-?\d)"),
    _rule("maths", 2, "a syllogism", "butun |tum ", r"\b(?:butun|tum) [^?]{1,60}\bise\b[^?]{1,60}\bm[iu](?:d[iu]r)?\b", at_needle=True),
)
