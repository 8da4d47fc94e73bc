"""The evidence is that of every rule and every word of the vocabulary tried on the whole text."""

from __future__ import annotations

import re
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.router.classification.evidence import Evidence, TopicEvidence
from services.router.classification.normalize import compose, fold
from services.router.classification.rules import PATTERNS, PHRASES, Rule
from services.router.classification.vocabulary import LANGUAGES, points_by_spelling
from tests.harness.suite.examples import examples

TOPICS: Final = ("code", "maths", "debugging", "design")
RULES: Final = (*PATTERNS, *PHRASES)
NEEDLES: Final = sorted({needle.text for rule in RULES for needle in rule.needles})
LISTED: Final = sorted(
    {
        re.sub(r"[*(].*", "", word)
        for words in LANGUAGES
        for field in msgspec.structs.astuple(words)
        for word in field.split()
    }
)
MATCHING: Final = """\
for (i=0;
    for each in them:
while true:
O(n
def f(x
class Tree:
lambda x:
fn main(
let x = 1
const a = b
at run (a.js:3
at main.run(main.go:12)
SELECT a FROM b
camelCase
snake_case
a === b
hashmap
sin(
.sin(
f(x) =
3 + 4
5 * (
x = 5
x^2
- y=3
10 % of 5
20 percent of 5
5%
1,2,4,8
2, 4, 8
older than
taller than
faster than
all cats are cats
how many 5 if
how old 7
is 17 prime
60 km/h
write a function
fix the query
in python
c++
.net
step-by-step
trade-off
does not work
isn't work
next term
напиши функцию
сколько 5
следует ли все
на питоне
fonksiyon yaz
bu kodu
butun kediler ise mi
en uzun
kac 4
İstanbul
it’s
“
→
ё""".splitlines()
PIECES: Final = st.one_of(
    st.sampled_from(MATCHING),
    st.sampled_from(NEEDLES),
    st.sampled_from(LISTED),
    st.text("abcxyz_019.,?(){};=+-*/%^$`\\'’ \n", max_size=6),
)
TEXTS: Final = st.lists(st.tuples(PIECES, st.sampled_from([" ", " ", "", "\n", ", ", "_"])), max_size=12).map(
    lambda pieces: "".join(part for piece in pieces for part in piece)
)

DRAWN: Final = [rule for rule in RULES if rule.needles[0].text not in ("", "er than")]
"""The rules for which hypothesis draws matches; the others begin with what they look behind for."""
ALPHABET: Final = "".join(
    sorted(
        {chr(code) for code in range(32, 127)}
        | {"\n", "\t"}
        | set("".join(rule.pattern.pattern for rule in RULES))
    )
)


def of_rules(topic: str, text: str) -> list[tuple[int, str]]:
    ascii_first = sorted(PHRASES, key=lambda each: not any(needle.text.isascii() for needle in each.needles))
    searched = [(rule, text) for rule in PATTERNS] + [(rule, fold(text)) for rule in ascii_first]
    return [
        (rule.points, rule.label)
        for rule, within in searched
        if rule.topic == topic and rule.pattern.search(within)
    ]


ENTRIES: Final = points_by_spelling()
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


@given(
    st.sampled_from(MATCHING),
    st.sampled_from(["a b c. ", "word, ", "Это текст. "]),
    st.sampled_from([" ", "\n"]),
)
def test_what_a_rule_matches_counts_at_every_place_of_a_long_text(
    piece: str, filler: str, space: str
) -> None:
    for text in (f"{filler * 80}{space}{piece}{space}{filler * 80}", f"{filler * 160}{space}{piece}"):
        evidence = Evidence(text)
        for topic in TOPICS:
            assert getattr(evidence, topic) == expected(topic, text), topic


@pytest.mark.parametrize("rule", DRAWN, ids=[f"{rule.label}, {rule.needles[0].text!r}" for rule in DRAWN])
# Patterns that look behind are drawn rarely enough for health checks to complain, but often enough to be tested.
@settings(max_examples=examples(125), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_rule_matches_is_found(rule: Rule, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(rule.pattern, alphabet=ALPHABET))
    searched = fold(text) if rule in PHRASES else compose(text)
    if rule.pattern.search(searched):
        assert any(needle.text in searched for needle in rule.needles)
        assert getattr(Evidence(text), rule.topic) == expected(rule.topic, compose(text))
