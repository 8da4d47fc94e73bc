"""Whatever a model refuses: a request ends after few refusals, loses nothing it depends on, and harms no other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from penstock.config.catalogue import Catalogue, Model, Provider, RoleConfig
from penstock.config.takes import Only, Take
from services.worker.calls.errors import ProviderError
from services.worker.learnt_parameters import LearntParameters

OPTIONAL = (
    "temperature",
    "top_p",
    "seed",
    "user",
    "store",
    "max_tokens",
    "max_completion_tokens",
    "random_seed",
)
NEEDED = ("tools", "response_format", "stop", "n")
CODES = st.sampled_from(
    [None, "unsupported_parameter", "unsupported_value", "extra_forbidden", "invalid_value"]
)
WORDS = st.sampled_from(
    [
        "",
        "Extra inputs are not permitted",
        "Use 'max_completion_tokens' instead.",
        "Use 'max_tokens' instead.",
        "use random_seed instead",
        "use seed instead",
        "use 'stop_words' instead",
        "is not supported when thinking is enabled",
        'Unknown name "user": Cannot find field. Unknown name "tools": Cannot find field.',
    ]
)
BODIES = st.dictionaries(st.sampled_from(OPTIONAL + NEEDED), st.sampled_from([0, 1, 2]), min_size=1)
TAKES: st.SearchStrategy[dict[str, Take]] = st.dictionaries(
    st.sampled_from(("temperature", "top_p", "user", "store")),
    st.sampled_from([True, False, Only(only=1)]),
    max_size=3,
) | st.just({"seed": "random_seed", "max_completion_tokens": "max_tokens"})


def learner(takes: dict[str, Take]) -> LearntParameters:
    models = {"m": Model(provider="p", takes=takes), "other": Model(provider="p")}
    roles: dict[Any, RoleConfig] = {"chat": RoleConfig(chain=("m", "other"))}
    return LearntParameters(Catalogue(name="t", providers={"p": Provider()}, models=models, roles=roles))


def sent(learnt: LearntParameters, asked: dict[str, Any], model: str = "m") -> dict[str, Any]:
    fields = {name: Raw(json.dumps(value).encode()) for name, value in asked.items()}
    learnt.adaptation(model).apply(fields)
    return {name: json.loads(bytes(value)) for name, value in fields.items()}


@settings(max_examples=300)
@given(TAKES, st.lists(BODIES, min_size=1, max_size=4), st.data())
def test_a_request_ends_after_few_refusals_and_keeps_what_it_depends_on(
    takes: dict[str, Take], bodies: list[dict[str, Any]], data: st.DataObject
) -> None:
    learnt = learner(takes)
    for asked in bodies:
        rounds = 0
        while True:
            body = sent(learnt, asked)
            assert {name: body[name] for name in NEEDED if name in asked} == {
                name: asked[name] for name in NEEDED if name in asked
            }
            limits = [asked[name] for name in ("max_tokens", "max_completion_tokens") if name in asked]
            kept = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
            assert not limits or min(kept) == min(limits), "no request gets more output than it asked for"
            if not body or data.draw(st.booleans()):
                break
            parameter = data.draw(st.sampled_from(sorted(body)))
            error = ProviderError(parameter=parameter, code=data.draw(CODES), message=data.draw(WORDS))
            lesson = learnt.learn("m", error, json.dumps(body).encode())
            if lesson is None:
                assert sent(learnt, asked) == body
                break
            assert sent(learnt, asked) != body, "what was refused is never sent again as it was"
            rounds += 1
            assert rounds <= 2 * len(asked) + 2
        assert sent(learnt, asked, "other") == asked


@given(st.sampled_from(OPTIONAL), st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2]))
def test_a_value_that_is_out_of_range_costs_no_other_value(name: str, bad: int, good: int) -> None:
    learnt = learner({})
    error = ProviderError(parameter=name, code="invalid_value", message=f"{name} must be at most 1")
    learnt.learn("m", error, json.dumps({name: bad}).encode())
    assert good == bad or sent(learnt, {name: good}) == {name: good}


@given(st.text() | st.sampled_from(OPTIONAL), st.text(), BODIES)
def test_no_refusal_is_a_surprise(parameter: str, message: str, asked: dict[str, Any]) -> None:
    learnt = learner({})
    error = ProviderError(parameter=parameter, message=message, code=parameter)
    lesson = learnt.learn("m", error, json.dumps(asked).encode())
    assert lesson is None or parameter in asked
