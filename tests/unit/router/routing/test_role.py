"""B1 and B5: the role of a request, and the reason given."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock.contract.guard.checks import Classification
from penstock.contract.names import EMBED, ROLES, ROLES_BY_CONTENT
from penstock.runtime.config.catalogue import Catalogue, Model, RoleConfig
from penstock.runtime.config.retrieval import Embedding
from penstock.runtime.config.routing import AutoRule
from services.router.routing.features import Features, extract_features
from services.router.routing.outcome import InvalidRequest
from services.router.routing.role import RoleChoice, resolve
from tests.unit.router.routing.corpus import TUNED, Corpus
from tests.unit.router.routing.held_out import HELD_OUT


def catalogue(*roles: str, **configs: RoleConfig) -> Catalogue:
    plain = {role: RoleConfig(chain=("e" if role == EMBED else "m",)) for role in roles}
    models = {"m": Model(provider="p"), "e": Model(provider="p", embedding=Embedding(dimensions=8))}
    return Catalogue(name="test", providers={}, models=models, roles={**plain, **configs})


CATALOGUE = catalogue(*ROLES)


def features(content: object) -> Features:
    return extract_features(msgspec.json.encode({"messages": [{"role": "user", "content": content}]}))


def auto(content: object, served: tuple[str, ...] = ROLES) -> RoleChoice:
    return resolve("auto", features(content), CATALOGUE, served)


def accuracy(corpus: Corpus, language: str) -> float:
    """The share of prompts that get their role; the others are printed."""
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
def test_b1_prompts_of_the_tuned_corpus_get_their_role(language: str) -> None:
    assert accuracy(TUNED, language) >= 0.95


@pytest.mark.parametrize("language", ["en", "ru", "tr"])
def test_b1_prompts_never_tuned_on_get_their_role(language: str) -> None:
    assert accuracy(HELD_OUT, language) >= 0.88


@pytest.mark.parametrize(
    ("topic", "probability", "role"),
    [("coding", 0.93, "coding"), ("logic", 0.75, "logic"), ("logic", 0.74, "chat"), ("chat", 0.9, "chat")],
)
def test_b6_the_topic_of_the_classifier_counts_where_the_rules_recognise_nothing(
    topic: Any, probability: float, role: str
) -> None:
    text = features("my page loads twice when I press back")
    assert resolve("auto", text, CATALOGUE, ROLES).unclear
    choice = resolve("auto", text, CATALOGUE, ROLES, "", Classification(topic=topic, probability=probability))
    assert choice.role == role
    assert not choice.unclear
    assert f"{topic} by the classifier ({probability:.0%})" in choice.why


@pytest.mark.parametrize(
    "text", ["Write a Python function", "Solve 3x + 7 = 22", "hi", "hello there", "", "?!... 😀"]
)
def test_b6_a_clear_or_very_short_text_is_not_unclear(text: str) -> None:
    assert not resolve("auto", features(text), CATALOGUE, ROLES).unclear


def test_b6_rules_and_names_go_before_the_classifier() -> None:
    coding = Classification(topic="coding", probability=1.0)
    assert resolve("auto", features("Solve 3x + 7 = 22"), CATALOGUE, ROLES, "", coding).role == "logic"
    assert resolve("fast", features("my page loads twice"), CATALOGUE, ROLES, "", coding).role == "fast"
    without = resolve("auto", features("my page loads twice"), CATALOGUE, ("chat",), "", coding)
    assert without.role == "chat"
    assert "no live worker serves coding" in without.why


@pytest.mark.parametrize("corpus", [TUNED, HELD_OUT], ids=["tuned", "held_out"])
def test_the_corpora_are_large_enough_and_disjoint(corpus: Corpus) -> None:
    for language, roles in corpus.items():
        assert sum(map(len, roles.values())) >= 28
        tuned = {prompt for prompts in TUNED[language].values() for prompt in prompts}
        held_out = {prompt for prompts in HELD_OUT[language].values() for prompt in prompts}
        assert not tuned & held_out


def test_b1_auto_chooses_only_roles_that_the_catalogue_lists_for_it() -> None:
    prompts = [
        prompt
        for corpus in (TUNED, HELD_OUT)
        for roles in corpus.values()
        for each in roles.values()
        for prompt in each
    ]
    image = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    chosen = {auto(content).role for content in (*prompts, image, "word " * 40_000)}
    assert chosen == set(CATALOGUE.roles_of_auto()) == set(ROLES_BY_CONTENT)
    assert LEGAL.roles_of_auto() == ("chat", "coding", "legal")


@pytest.mark.parametrize("role", CATALOGUE.roles_of_kind("chat"))
def test_b1_a_role_requested_by_name_is_kept_whatever_the_text(role: str) -> None:
    assert resolve(role, features("Solve 3x + 7 = 22"), CATALOGUE, ()) == RoleChoice(
        role, "role named in the request"
    )


@pytest.mark.parametrize(("role", "model"), [("embed", ""), ("auto", "e")])
def test_h2_a_chat_request_to_an_embedding_model_is_rejected_with_the_roles_for_it(
    role: str, model: str
) -> None:
    named = "the model e" if model else "the role embed"
    with pytest.raises(InvalidRequest, match=f"{named} answers embed requests, .* are chat, logic, coding"):
        resolve(role, features("hi"), CATALOGUE, ROLES, model)


def test_an_unknown_role_is_rejected_with_the_list_of_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"no role and no model 'codin'") as caught:
        resolve("codin", features("hi"), CATALOGUE, ROLES)
    assert caught.value.code == "unknown_role"
    listed = str(caught.value).partition("the roles are ")[2].partition(";")[0].split(", ")
    assert set(listed) == {*ROLES, "auto"} - {"embed"}


@pytest.mark.parametrize(("role", "model"), [("codign", ""), ("Codign:complex", ""), ("auto", "codign")])
def test_a_misspelled_role_is_rejected_with_the_role_of_a_similar_name(role: str, model: str) -> None:
    with pytest.raises(InvalidRequest, match=r"; a role of a similar name is coding(;|$)"):
        resolve(role, features("hi"), CATALOGUE, ROLES, model)


def test_b1_a_shipped_role_that_the_catalogue_lacks_is_unknown() -> None:
    with pytest.raises(
        InvalidRequest,
        match=r"no role and no model 'creative' in the catalogue test; the roles are chat, auto",
    ):
        resolve("creative", features("hi"), catalogue("chat"), ROLES)


def test_b1_auto_falls_back_to_chat_where_the_catalogue_lacks_the_role() -> None:
    choice = resolve("auto", features("Solve 3x + 7 = 22"), catalogue("chat", "coding"), ())
    assert choice.role == "chat"


LEGAL = catalogue(
    "chat", "coding", legal=RoleConfig(chain=("m",), auto=AutoRule(keywords=("contract law", "NDA")))
)


@pytest.mark.parametrize(
    ("prompt", "role"),
    [
        ("Is this nda binding?", "legal"),
        ("Explain contract law to me", "legal"),
        ("Write a Python function that parses an NDA", "legal"),
        ("A panda eats bamboo", "chat"),
        ("Write a Python function", "coding"),
    ],
)
def test_b1_auto_chooses_a_role_of_the_catalogue_by_its_keywords(prompt: str, role: str) -> None:
    assert resolve("auto", features(prompt), LEGAL, ("chat", "coding", "legal")).role == role


def test_b1_a_role_chosen_by_keyword_falls_back_to_chat_without_a_worker() -> None:
    choice = resolve("auto", features("this NDA"), LEGAL, ("chat",))
    assert choice == RoleChoice("chat", "keyword 'NDA'; no live worker serves legal, so chat")


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_b1_an_image_selects_vision_even_beside_code() -> None:
    decision = auto([{"type": "text", "text": "```py\nprint(1)\n```"}, IMAGE])
    assert decision == RoleChoice("vision", "an image")
    assert auto([IMAGE, IMAGE]).why == "2 images"


@pytest.mark.parametrize(
    ("letter", "characters"), [("a", 120_004), ("я", 90_004)], ids=["Latin: 4 a token", "Cyrillic: 3"]
)
def test_b1_more_than_30_000_tokens_select_long_context(letter: str, characters: int) -> None:
    assert auto(letter * characters).role == "long_context"
    assert auto(letter * (characters - 200)).role == "chat"
    assert auto("42 " * 16_000).why == "32,007 tokens of text"


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


def test_turkish_without_its_letters_or_in_capitals_is_classified_alike() -> None:
    for prompt in ("denklemi çöz", "denklemi coz", "DENKLEMİ ÇÖZ", "denklemi c\u0327o\u0308z"):
        assert auto(prompt).role == "logic", prompt
    for prompt in ("hata ayıkla", "hata ayikla", "HATA AYIKLA"):
        assert auto(prompt).role == "coding", prompt


def test_auto_falls_back_to_chat_without_a_worker_and_gives_the_reason() -> None:
    decision = auto("Solve 3x + 7 = 22", served=("chat", "coding"))
    assert decision.role == "chat"
    assert decision.why.startswith("mathematics or logic: ")
    assert decision.why.endswith("no live worker serves logic, so chat")


def test_auto_keeps_a_role_without_a_worker_if_chat_has_none_either() -> None:
    assert auto("Solve 3x + 7 = 22", served=()).role == "logic"


def test_words_shared_by_code_and_mathematics_decide_neither() -> None:
    assert auto("Prove that every class of functions closed under limits is a vector space").role == "logic"
    assert auto("Write a Python function that solves the equation x^2 = 2").role == "coding"


MODELS = Catalogue(
    name="test",
    providers={},
    models={name: Model(provider="p") for name in ("gpt-oss-120b", "gpt-oss-20b", "chat", "llama-3.1-8b")},
    roles={"chat": RoleConfig(chain=("gpt-oss-20b", "gpt-oss-120b"))},
)


def test_k2_a_request_that_names_a_model_gets_its_implicit_role() -> None:
    choice = resolve("auto", features("Solve 3x + 7 = 22"), MODELS, ("chat",), "llama-3.1-8b")
    assert choice == RoleChoice("model-llama-3_2e1-8b", "model named in the request")


def test_k2_a_model_with_the_name_of_a_role_can_be_named() -> None:
    assert resolve("auto", features("hi"), MODELS, ("chat",), "chat").role == "model-chat"
    assert resolve("chat", features("hi"), MODELS, ("chat",)).role == "chat"


def test_k2_the_implicit_role_can_be_named_as_the_role() -> None:
    """As a redriven dead letter does."""
    choice = resolve("model-gpt-oss-120b", features("hi"), MODELS, ("chat",))
    assert choice == RoleChoice("model-gpt-oss-120b", "model named in the request")


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("gpt-oss-12b", "models of a similar name are gpt-oss-120b, gpt-oss-20b"),
        ("GPT-OSS-120B", "models of a similar name are gpt-oss-120b, gpt-oss-20b"),
        ("llama", "a model of a similar name is llama-3.1-8b"),
    ],
)
def test_k2_an_unknown_model_is_rejected_with_the_roles_and_models_of_a_similar_name(
    wanted: str, near: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"no model '{wanted}'") as caught:
        resolve("auto", features("hi"), MODELS, ("chat",), wanted)
    assert caught.value.code == "unknown_role"
    assert str(caught.value).endswith(f"the roles are chat, auto; {near}")


def test_k2_an_unknown_role_names_models_too_as_one_of_them_may_be_meant() -> None:
    with pytest.raises(InvalidRequest, match=r"no role and no model 'gpt-oss-120'.*gpt-oss-120b"):
        resolve("gpt-oss-120", features("hi"), MODELS, ("chat",))
    with pytest.raises(InvalidRequest, match=r"no role 'gpt-oss-120b'.*gpt-oss-120b"):
        resolve("gpt-oss-120b", features("hi"), MODELS, ("chat",))
    with pytest.raises(InvalidRequest, match=r"the roles are chat, auto$"):
        resolve("", features("hi"), MODELS, ("chat",))


def test_k2_an_unknown_complexity_is_told_which_there_are() -> None:
    with pytest.raises(
        InvalidRequest, match=r"no role and no model 'chat:hard'.*simple, medium, complex, as in chat:complex"
    ):
        resolve("chat:hard", features("hi"), MODELS, ("chat",))


@pytest.mark.parametrize("wanted", ["auto", "chat:complex"])
def test_k2_a_role_that_is_named_as_model_is_told_where_it_belongs(wanted: str) -> None:
    with pytest.raises(
        InvalidRequest, match=f"no model '{wanted}'.*; {wanted} is a role: .*not as its model"
    ) as caught:
        resolve("auto", features("hi"), MODELS, ("chat",), wanted)
    assert "lower case" not in str(caught.value)


def test_k2_a_role_in_upper_case_is_told_its_name() -> None:
    with pytest.raises(InvalidRequest, match=r"no role and no model 'AUTO'.*write auto in lower case"):
        resolve("AUTO", features("hi"), MODELS, ("chat",))


def test_k2_a_role_and_a_model_together_are_rejected() -> None:
    with pytest.raises(InvalidRequest, match="names the role 'chat' and the model 'gpt-oss-20b'") as caught:
        resolve("chat", features("hi"), MODELS, ("chat",), "gpt-oss-20b")
    assert caught.value.code == "invalid_request"


def test_b1_auto_never_chooses_the_role_of_a_model() -> None:
    for text in ("gpt-oss-120b", "use the model gpt-oss-120b", "model-gpt-oss-120b"):
        assert resolve("auto", features(text), MODELS, ("chat",)).role == "chat"
