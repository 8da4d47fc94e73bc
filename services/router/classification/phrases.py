"""Turns of phrase of programmers, mathematicians and puzzles, looked for in the folded text.

There Turkish stands in plain Latin letters (folding.py).
"""

from __future__ import annotations

from typing import Final

from services.router.classification.rule import clue

__all__ = ["PHRASES"]

# The tables read best with one clue a line, however long its expression.
# ruff: noqa: E501
# fmt: off

_NOT_A_FLAT: Final = r"(?! (?:daire|ev\b|oda|kiral|satil))"
"""Turkish flats are 3+1."""
_MAKE_EN: Final = r"\b(?:write|implement|create|build|make|generate|fix|debug|optimi[sz]e|add)\b[^.?!\n]{0,40}"
_THING_EN: Final = r"\b(?:function|script|method|unit tests?|regex|query|parser|compiler|api|algorithm|linked list|program that)\b"
_MAKE_RU: Final = r"\b(?:напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь)\w{0,3}\b[^.?!\n]{0,40}"
_THING_RU: Final = r"\b(?:функци[юи]\b(?! печени)|скрипт|метод|юнит|запрос|парсер|алгоритм|код\b|программу,? котор|класс на|тесты)"
_MAKE_TR: Final = r"(?:fonksiyon\w{0,6}|kodu?|betik|script\w{0,3}|sorgu\w{0,4}|metot|algoritma|program|sinif) (?:yaz|olustur|hazirla|gelistir|ekle)"
_SIZE_EN: Final = r"(?:older|taller|faster|heavier|younger|shorter|richer|bigger|smaller) than\b"
_SIZE_RU: Final = r"(?:старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче)"
_SIZE_TR: Final = r"(?:buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir)"

PHRASES: Final = (
    clue("code", 2, "a thing to program", "write|implement|create|build|make|generate|fix|debug|optimi|add ", _MAKE_EN + _THING_EN),
    clue("code", 1, "a programming language", "python|rust|swift|ruby|perl|scala|bash|powershell|react", r" (?:(?<=\bin )|(?<=\busing )|(?<=\bwith )|(?<=\bна ))(?:python|rust|swift|ruby|perl|scala|bash|powershell|react)\b"),
    clue("code", 1, "a programming language", "python'|python i|pythond|rust'|rust i|ruby'|swift'", r"(?:python|rust|ruby|swift)(?:'?[dt][ae]| ile)\b"),
    clue("code", 2, "a programming language", "c++|c#|.net", r"\bc\+\+|\bc#|(?<!\w)\.net\b"),
    clue("code", 1, "a programming language", " c | c,| c?", r"\b(?:in|this|a|на|с) c (?:program|code|function|compiler)|\b(?:in|на) c[,?]"),
    clue("code", 2, "a term of programming", "linked list|binary|unit test|exit code|stack trace|pull request|data struct|fault|hash map|race cond|memory leak|merge conf", r"\b(?:linked list|binary (?:search|tree)|unit tests?|exit code|stack trace|pull request|data structures?|segmentation fault|hash ?map|race condition|memory leak|merge conflict)\b"),
    clue("code", 2, "a thing to program", "напиши|создай|сделай|реализуй|исправь|отладь|оптимизируй|добавь", _MAKE_RU + _THING_RU),
    clue("code", 1, "a programming language", "на |в ", r"\b(?:на|в) (?:питоне|python|java|go|c|rust|swift|ruby|си|джаве)\b"),
    clue("code", 2, "a term of programming", "базы данн|базу данн|базе данн|связн|двоичн|бинарн|юнит", r"\bбаз[ыуе] данных|\bсвязн\w{1,4} спис|\b(?:двоичн|бинарн)\w{1,4} (?:поиск|дерев)|\bюнит.тест"),
    clue("code", 2, "a thing to program", "yaz|olustur|hazirla|gelistir|ekle", _MAKE_TR),
    clue("code", 2, "a term of programming", "hata ay|birim test|hata kod|bagli liste|ikili ara", r"\bhata (?:ayikla|kodu)|\bbirim test|\bbagli liste|\bikili ara"),
    clue("debugging", 1, "'does not work'", "work|не работает|падает", r"\b(?:does(?:n't| not)|not|isn't|stopped) work|\bне работает\b"),
    clue("design", 1, "'trade-offs'", "trade", r"\btrade.?offs?\b"),
    clue("design", 1, "'step by step'", "step by|пошаг|adim adim", r"\bstep.by.step\b|\bпошагов|\badim adim\b"),
    clue("maths", 2, "arithmetic", "*|×|÷|^|·", r"[*×÷^·](?:(?<=[\d)].)|(?<=[\d)] .))(?: ?\d|\()"),
    clue("maths", 2, "arithmetic", "+", rf"\+(?:(?<=[\d)]\+)|(?<=[\d)] \+)) ?\(?\d{_NOT_A_FLAT}"),
    clue("maths", 1, "arithmetic", " / | - |=", r"\d \)?[/-] \(?\d|\d ?= ?\?"),
    clue("maths", 2, "an equation", "=|+|-|^", r"[xyzn](?:(?<![a-z_.][xyzn]) ?(?:\^ ?\d|= ?-?\d|[-+] ?\d{1,6}[^\n]{0,20}=)|(?<=\d[xyzn]) ?[-+=^])"),
    clue("maths", 2, "a function of x", "sin(|cos(|tan(|tg(|ln(|log(|lim(|exp(|sqrt(|(x) =|(t) =|(y) =", r"(?<![.\w])(?:sin|cos|tan|tg|ln|log|lim|exp|sqrt)\(|\b[fgh]'?\([xyt]\) ="),
    clue("maths", 2, "a power", "^", r"\^(?:(?<=\)\^)|(?<=\b[a-z]\^)[\w({-])"),
    clue("maths", 2, "a percentage", "%|percent|процент", r"\d ?(?:%|percent|процент\w{0,3}) (?:of|от) \d"),
    clue("maths", 2, "a square root", "square root|cube root|prime number", r"\b(?:square|cube) root|\bprime number"),
    clue("maths", 1, "'prove that'", "prove that", r"\bprove that\b"),
    clue("maths", -2, "everyday 'integral'", "integral p|integral r|integral to", r"\bintegral (?:part|role|to)\b"),
    clue("maths", 2, "'how many … if'", "how m", r"\bhow (?:many|much)\b(?=[^?]{0,160}\d)[^?]{1,160}\bif\b|\bif\b(?=[^?]{0,160}\d)[^?]{1,200}\bhow (?:many|much)\b"),
    clue("maths", 1, "a question of quantity", "how ", r"\bhow (?:many|much|long|far|fast|old)\b[^?]{1,160}\d|\d[^\n]{1,240}\bhow (?:many|much|long|far|fast|old)\b"),
    clue("maths", 1, "a question of quantity", "сколько|каков", r"\bсколько\b[^?]{1,160}\d|\d[^\n]{1,240}\b(?:сколько|каков)"),
    clue("maths", 2, "'чему равно'", "равн", r"\bчему равн\w{1,2}\b"),
    clue("maths", 1, "a question of quantity", "kac", r"\bkac\w{0,4}\b[^?]{1,160}\d|\d[^\n]{1,240}\bkac(?:tir|inci)?\b"),
    clue("maths", 1, "a speed", "km/h|mph|км/ч|km hiz|km/s", r"\d ?(?:km/h|mph|км/ч|km/s|km hiz)"),
    clue("maths", 1, "two speeds", "km/h|mph|км/ч|km/s", r"\d ?(km/h|mph|км/ч|km/s)\b[^?\n]{1,160}\d ?\1"),
    clue("maths", 2, "a comparison to follow", "er than", rf"\b{_SIZE_EN}[^?]{{1,120}}\b{_SIZE_EN}"),
    clue("maths", 2, "a comparison to follow", "старше|младше|выше|ниже|тяжелее|легче|быстрее|богаче", rf"\b{_SIZE_RU}\b[^?]{{1,120}}\b{_SIZE_RU}\b"),
    clue("maths", 2, "a comparison to follow", "buyuk|kucuk|uzun|kisa|hizli|yasli|genc|agir", rf"[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}\ben {_SIZE_TR}\b|[dt][ae]n (?:daha )?{_SIZE_TR}\b[^?]{{1,80}}[dt][ae]n (?:daha )?{_SIZE_TR}\b"),
    clue("maths", 2, "a syllogism", "all ", r"\ball (\w{3,30}) are\b[^?]{1,120}\b\1\b"),
    clue("maths", 2, "a syllogism", "следует ли|значит ли|верно ли", r"\bвсе\b[^?]{1,200}\b(?:следует|значит|верно) ли\b"),
    clue("maths", 1, "a syllogism", "butun |tum ", r"\b(?:butun|tum) \w{3,30}[^?]{1,160}\bm[iu]d[iu]r\b"),
    clue("code", 2, "some code at hand", "this code|этот код|этом коде|этого кода|bu kod", r"\bthis code\b|\bэто[тмг]о? код[еа]?\b|\bbu kod(?:u|da|un)?\b"),
    clue("code", 2, "a term of programming", "last commit|let and|telegram bot|discord bot|web page|landing page", r"\blast commit\b|\blet and (?:var|const)\b|\b(?:telegram|discord) bot\b|\b(?:web|landing) page\b"),
    clue("maths", 2, "a kind of number", "prime|прост|натуральн|asal|dogal say|tam say", r"\bis \d{1,12} (?:a )?prime\b|\b(?:прост|натуральн)\w{1,3} чис|\basal say|\bdogal say|\basal mi"),
    clue("maths", 1, "a series", ", ", r",(?<=\d,) ?\d{1,9}, ?\d"),
    clue("maths", 1, "a series to continue", "продолжи ряд|devam ettir|next number|next term", r"продолжи ряд|devam ettir|next (?:number|term)"),
    clue("maths", 2, "'all but'", "all but ", r"\ball but \w{1,20} (?:die|left|run|escape)"),
    clue("code", 2, "a term of programming", "регулярн|duzenli ifade", r"регулярн\w{1,3} выражен|duzenli ifade"),
    clue("maths", 1, "a figure to compute", "calculate|compute|work out|вычисли|посчитай|рассчитай|hesapla", r"\b(?:calculate|compute|work out|вычисли|посчитай|рассчитай)\b[^?\n]{0,80}\d|\d[^?\n]{0,80}\bhesapla"),
    clue("maths", 1, "a percentage in question", "%", r"(?:\d ?%|% ?\d)[^?]{1,160}\b(?:how much|what (?:is|was|will)|сколько|kac)"),
    clue("maths", 2, "ways to count", "ways|способами|sekilde|yolla", r"\bhow many (?:different |possible )?ways\b|сколькими (?:различными |разными )?способами|\bkac (?:farkli |degisik )?(?:sekilde|yolla)"),
    clue("maths", 2, "an expression", "+|-", r"[-+] ?(?:[a-z]\)(?:(?<=\([a-z][-+][a-z]\))|(?<=\([a-z] [-+] [a-z]\)))|[xyz] ?= ?-?\d)"),
    clue("maths", 2, "a syllogism", "butun |tum ", r"\b(?:butun|tum) [^?]{1,60}\bise\b[^?]{1,60}\bm[iu](?:d[iu]r)?\b"),
)
