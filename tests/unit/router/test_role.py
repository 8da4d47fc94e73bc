"""B1 and B5: which role a request reaches, and the reason given."""

from __future__ import annotations

import msgspec
import pytest

from penstock.contract.names import ROLES
from penstock.runtime.config.catalogue import Routing
from services.router.routing.features import Features, read
from services.router.routing.role import Decision, UnknownRole, resolve
from tests.unit.router.corpus import TUNED, Corpus
from tests.unit.router.held_out import HELD_OUT

ROUTING = Routing()


def features(content: object) -> Features:
    return read(msgspec.json.encode({"messages": [{"role": "user", "content": content}]}))


def auto(content: object, served: tuple[str, ...] = ROLES) -> Decision:
    return resolve("auto", features(content), ROUTING, served)


def accuracy(corpus: Corpus, language: str) -> float:
    """The share of prompts that reach their role; the others are printed."""
    total = right = 0
    for role, prompts in corpus[language].items():
        for prompt in prompts:
            decision = auto(prompt)
            total += 1
            right += decision.role == role
            if decision.role != role:
                print(f"{prompt!r}: {role} taken for {decision.role} ({decision.why})")
    return right / total


@pytest.mark.parametrize("language", ["en", "ru", "tr"])
def test_b1_prompts_of_the_tuned_corpus_reach_their_role(language: str) -> None:
    assert accuracy(TUNED, language) >= 0.95


@pytest.mark.parametrize("language", ["en", "ru", "tr"])
def test_b1_prompts_never_tuned_on_reach_their_role(language: str) -> None:
    assert accuracy(HELD_OUT, language) >= 0.88


@pytest.mark.parametrize("corpus", [TUNED, HELD_OUT], ids=["tuned", "held_out"])
def test_the_corpus_is_large_enough_in_each_language_and_nothing_stands_in_both(corpus: Corpus) -> None:
    for language, roles in corpus.items():
        assert sum(map(len, roles.values())) >= 28
        tuned = {prompt for prompts in TUNED[language].values() for prompt in prompts}
        held_out = {prompt for prompts in HELD_OUT[language].values() for prompt in prompts}
        assert not tuned & held_out


@pytest.mark.parametrize("role", ROLES)
def test_b1_a_role_asked_for_is_obeyed_whatever_the_text(role: str) -> None:
    assert resolve(role, features("Solve 3x + 7 = 22"), ROUTING, ()) == Decision(role, "asked for")


def test_an_unknown_role_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownRole, match=r"no role 'codin'") as caught:
        resolve("codin", features("hi"), ROUTING, ROLES)
    assert all(role in str(caught.value) for role in (*ROLES, "auto"))


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_b1_an_image_goes_to_vision_even_beside_code() -> None:
    decision = auto([{"type": "text", "text": "```py\nprint(1)\n```"}, IMAGE])
    assert decision == Decision("vision", "an image")
    assert auto([IMAGE, IMAGE]).why == "2 images"


@pytest.mark.parametrize(
    ("letter", "characters"), [("a", 120_004), ("я", 90_004)], ids=["Latin: 4 a token", "Cyrillic: 3"]
)
def test_b1_more_than_30_000_tokens_go_to_long_context(letter: str, characters: int) -> None:
    assert auto(letter * characters).role == "long_context"
    assert auto(letter * (characters - 200)).role == "chat"
    assert auto("42 " * 40_000).why == "40,007 tokens of text"


@pytest.mark.parametrize(
    ("prompt", "evidence"),
    [
        ("def add(a, b):\n    return a", "`def`"),
        ('Traceback (most recent call last):\n  File "a"', "a traceback"),
        ("Реши уравнение", "'уравнение'"),
        ("DENKLEMİ ÇÖZ", "'DENKLEMİ'"),
        ("Solve 3x + 7 = 22", "an equation"),
    ],
)
def test_b5_the_reason_names_the_evidence_as_it_was_written(prompt: str, evidence: str) -> None:
    assert evidence in auto(prompt).why


def test_turkish_typed_without_its_letters_or_in_capitals_is_the_same() -> None:
    for prompt in ("denklemi çöz", "denklemi coz", "DENKLEMİ ÇÖZ", "denklemi c\u0327o\u0308z"):
        assert auto(prompt).role == "logic", prompt
    for prompt in ("hata ayıkla", "hata ayikla", "HATA AYIKLA"):
        assert auto(prompt).role == "coding", prompt


def test_a_role_nobody_serves_falls_to_chat_and_says_so() -> None:
    decision = auto("Solve 3x + 7 = 22", served=("chat", "coding"))
    assert decision.role == "chat"
    assert decision.why.startswith("mathematics or logic: ")
    assert decision.why.endswith("nobody serves logic now, so chat")


def test_without_chat_the_role_stays_for_the_door_to_refuse() -> None:
    assert auto("Solve 3x + 7 = 22", served=()).role == "logic"


def test_shared_words_do_not_make_a_proof_a_program_nor_a_program_a_proof() -> None:
    assert auto("Prove that every class of functions closed under limits is a vector space").role == "logic"
    assert auto("Write a Python function that solves the equation x^2 = 2").role == "coding"
