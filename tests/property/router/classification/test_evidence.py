"""The evidence is that of every rule and every word of the vocabulary tried on the whole text."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from services.router.classification.evidence import Evidence, TopicEvidence
from services.router.classification.normalize import compose, fold
from services.router.classification.rules import PATTERNS, PHRASES
from services.router.classification.vocabulary import LANGUAGES

TOPICS: Final = ("code", "maths", "debugging", "design")
POINTS: Final = {
    "code": ("code", 2),
    "code_weak": ("code", 1),
    "not_code": ("code", -2),
    "maths": ("maths", 2),
    "maths_weak": ("maths", 1),
    "not_maths": ("maths", -2),
    "debugging": ("debugging", 1),
    "design": ("design", 1),
}
NEEDLES: Final = sorted({needle.text for rule in (*PATTERNS, *PHRASES) for needle in rule.needles})
LISTED: Final = sorted(
    {
        re.sub(r"[*(].*", "", word)
        for words in LANGUAGES
        for name in POINTS
        for word in getattr(words, name).split()
    }
)
MATCHING: Final = (
    *("for (i=0;", "    for each in them:\n", "while true:\n", "O(n", "def f(x", "class Tree:", "lambda x:"),
    *("fn main(", "let x = 1", "const a = b", "at run (a.js:3", "SELECT a FROM b", "camelCase", "snake_case"),
    *(
        "sin(",
        ".sin(",
        "f(x) =",
        "3 + 4",
        "5 * (",
        "x = 5",
        "x^2",
        "- y=3",
        "10 % of 5",
        "20 percent of 5",
        "5%",
    ),
    *(
        "older than",
        "taller than",
        "faster than",
        "all cats are cats",
        "how many 5 if",
        "how old 7",
        "is 17 prime",
    ),
    *(
        "60 km/h",
        "write a function",
        "fix the query",
        "in python",
        "c++",
        ".net",
        "step-by-step",
        "trade-off",
    ),
    *(
        "does not work",
        "isn't work",
        "next term",
        "напиши функцию",
        "сколько 5",
        "следует ли все",
        "на питоне",
    ),
    *(
        "fonksiyon yaz",
        "bu kodu",
        "butun kediler ise mi",
        "en uzun",
        "kac 4",
        "İstanbul",
        "it’s",
        "“",
        "→",
        "ё",
    ),
)
PIECES: Final = st.one_of(
    st.sampled_from(MATCHING),
    st.sampled_from(NEEDLES),
    st.sampled_from(LISTED),
    st.text("abcxyz_019.,?(){};=+-*/%^$`\\'’ \n", max_size=6),
)
TEXTS: Final = st.lists(st.tuples(PIECES, st.sampled_from([" ", " ", "", "\n", ", ", "_"])), max_size=12).map(
    lambda pieces: "".join(part for piece in pieces for part in piece)
)


def of_rules(topic: str, text: str) -> list[tuple[int, str]]:
    rules = [(rule, text) for rule in PATTERNS] + [(rule, fold(text)) for rule in PHRASES]
    ascii_first = sorted(rules, key=lambda each: not any(needle.text.isascii() for needle in each[0].needles))
    patterns = [each for each in rules if each[0] in PATTERNS]
    return [
        (rule.points, rule.label)
        for rule, searched in (*patterns, *(each for each in ascii_first if each[0] in PHRASES))
        if rule.topic == topic
        and any(needle.text in searched for needle in rule.needles)
        and rule.pattern.search(searched)
    ]


def entries() -> dict[str, dict[str, int]]:
    """Points by topic of each spelling of the vocabulary."""
    found: dict[str, dict[str, int]] = {}
    for words in LANGUAGES:
        for name, (topic, points) in POINTS.items():
            for spelling in fold(getattr(words, name)).split():
                counts = found.setdefault(spelling, {})
                counts[topic] = max(points, counts.get(topic, points))
    return found


ENTRIES: Final = entries()
WHOLE: Final = {
    form: spelling
    for spelling in ENTRIES
    if not spelling.endswith("*")
    for form in (spelling.partition("(")[0], re.sub(r"[()]", "", spelling))
}
STEMS: Final = sorted((each for each in ENTRIES if each.endswith("*")), key=lambda each: (-len(each), each))


def of_words(topic: str, text: str) -> list[tuple[int, str]]:
    folded, counted, found = fold(text), set(), []
    for word in dict.fromkeys(re.findall(r"\w+", folded)):
        spelling = WHOLE.get(word) or next((each for each in STEMS if word.startswith(each[:-1])), None)
        if spelling is None or spelling in counted:
            continue
        counted.add(spelling)
        if topic in ENTRIES[spelling]:
            at = folded.find(word)
            found.append((ENTRIES[spelling][topic], f"'{text[at : at + len(word)]}'"))
    return found


def expected(topic: str, text: str) -> TopicEvidence:
    found = of_rules(topic, text) + of_words(topic, text)
    if not found:
        return TopicEvidence()
    heaviest_first = sorted(found, key=lambda item: -item[0])
    labels = tuple(dict.fromkeys(label for points, label in heaviest_first if points > 0))
    return TopicEvidence(sum(points for points, _ in found), heaviest_first[0][0], labels[:3])


@given(TEXTS)
def test_evidence_is_that_of_all_rules_and_words(text: str) -> None:
    evidence = Evidence(text)
    composed = compose(text)
    for topic in TOPICS:
        assert getattr(evidence, topic) == expected(topic, composed), topic


@given(st.sampled_from(MATCHING), st.sampled_from(["a b c. ", "word, ", "Это текст. "]))
def test_what_a_rule_matches_counts_at_every_place_of_a_long_text(piece: str, filler: str) -> None:
    for text in (f"{filler * 80} {piece} {filler * 80}", f"{filler * 160} {piece}"):
        evidence = Evidence(text)
        for topic in TOPICS:
            assert getattr(evidence, topic) == expected(topic, text), topic
