"""B2: what makes a request simple, medium or complex."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from penstock.contract.names import ROLES
from penstock.contract.request import ChatRequest
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.routing import Routing
from services.router.classification.evidence import Evidence
from services.router.routing.chat import plan_chat
from services.router.routing.complexity import Assessment, assess
from services.router.routing.features import Features, extract_features

CATALOGUE = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})


def assessed(text: str, system: str = "Be brief.", routing: Routing | None = None) -> Assessment:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return assess(extract_features(msgspec.json.encode({"messages": messages})), routing or Routing())


@pytest.mark.parametrize("text", ["Hello!", "Как дела?", "Merhaba", "What is the capital of France?", ""])
def test_a_short_plain_question_is_simple(text: str) -> None:
    assert assessed(text) == Assessment("simple", "a short text without code")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("la " * 67, "201 characters"),
        ("Write a Python function that adds two numbers", "code: "),
        ("What are the trade-offs of living in the city?", "design: 'trade-offs'"),
        ("Спроектируй сад", "design: 'Спроектируй'"),
        ("Bir bahçe tasarla", "design: 'tasarla'"),
    ],
)
def test_one_reason_makes_it_medium(text: str, reason: str) -> None:
    assessment = assessed(text)
    assert assessment.complexity == "medium"
    assert assessment.why.startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        "Debug this:\n```py\nprint(x)\n```",
        "Design the architecture of a payment API and its database. " * 5,
        "Отладь этот код, он падает",
        "Спроектируй архитектуру микросервиса на Python",
        "Bu kodda hata ayıkla",
        "Bir veritabanı mimarisi tasarla, Python ile kod yaz",
    ],
)
def test_two_reasons_make_it_complex_and_both_are_named(text: str) -> None:
    assessment = assessed(text)
    assert assessment.complexity == "complex"
    assert ";" in assessment.why


def test_the_length_bound_is_configured_and_ignores_the_system_prompt() -> None:
    assert assessed("x" * 200).complexity == "simple"
    assert assessed("x" * 201).complexity == "medium"
    assert assessed("x" * 201, routing=Routing(simple_max_characters=500)).complexity == "simple"
    assert assessed("Hello!", system="Be polite. " * 100).complexity == "simple"


def test_b5_a_request_that_names_role_and_complexity_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search takes 0.1 to 0.3 ms for 1,000 characters; its result would not be used."""
    asked = ChatRequest(id="1", client="c", role="chat", complexity="simple", body=Raw(b"{}"))
    features = extract_features(
        msgspec.json.encode({"messages": [{"role": "user", "content": "Fix my code"}]})
    )
    monkeypatch.setattr(Features, "evidence", property(unexpected))
    plan = plan_chat(asked, features, CATALOGUE, ROLES, None)
    assert (plan.role, plan.complexity) == ("chat", "simple")
    with pytest.raises(AssertionError, match="searched"):
        plan_chat(replace(asked, complexity=None), features, CATALOGUE, ROLES, None)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("at main.run(main.go:12)", "a traceback"),
        ("at App.render (src/App.ts:7:3)", "a traceback"),
        ("save() ; \t\nload() ;", "braces and semicolons"),
        ("is a hashmap quick?", "a programming term"),
        ("что делает этого код", "some code at hand"),
    ],
)
def test_code_is_found_by_its_form(text: str, label: str) -> None:
    assert label in Evidence(text).code.labels


def test_a_series_of_figures_is_no_large_figure() -> None:
    assert Evidence("2,4,8,16").maths.labels == ("a series",)
    assert Evidence("2, 400, 8000").maths.labels == ("a series",)
    assert Evidence("1,234,567 people, of 8,000,000,000").maths.labels == ()


def test_the_complexity_needs_no_search_for_mathematics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evidence, "maths", property(unexpected))
    assert assessed("Solve 2 + 2 = ? and fix it").why == "debugging: 'fix'"
    assert assess(Features(text="x"), Routing()).complexity == "simple"


def unexpected(_: object) -> None:
    raise AssertionError("searched")
