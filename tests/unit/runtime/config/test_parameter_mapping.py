"""`parameter_mapping`: what becomes of a parameter, said per model or per provider."""

from __future__ import annotations

import pytest

from penstock.runtime.config.parameter_mapping import Only
from tests.unit.runtime.config.example import load, refused, spoiled

SMALL = "  small:\n    provider: here"


def with_mapping(mapping: str, of_provider: str = "") -> str:
    text = spoiled(SMALL, f"{SMALL}\n    parameter_mapping: {mapping}")
    return text.replace(
        "api_key_env: [HERE_KEY]", f"api_key_env: [HERE_KEY]\n    parameter_mapping: {of_provider or '{}'}"
    )


def test_a_model_states_how_each_parameter_is_treated():
    text = with_mapping(
        "{max_tokens: max_completion_tokens, temperature: no, top_p: yes, seed: {only: 1}, developer_role: system}"
    )
    assert load(text).parameter_mapping_of("small") == {
        "max_tokens": "max_completion_tokens",
        "temperature": False,
        "top_p": True,
        "seed": Only(only=1),
        "developer_role": "system",
    }
    assert load(text).parameter_mapping_of("large") == {}


def test_the_mapping_of_a_provider_applies_to_its_models():
    catalogue = load(with_mapping("{temperature: yes}", of_provider="{temperature: no, top_p: no}"))
    assert catalogue.parameter_mapping_of("small") == {"temperature": True, "top_p": False}
    assert catalogue.models["small"].parameter_mapping == {"temperature": True, "top_p": False}, (
        "as config print shows it"
    )
    assert catalogue.parameter_mapping_of("large") == {"temperature": False, "top_p": False}


@pytest.mark.parametrize(
    ("mapping", "key", "problem", "fix"),
    [
        ("{temprature: no}", "temprature", "is like temperature", "write temperature"),
        ("{temperature: 1}", "temperature", "does not say how", "{only: 1}"),
        ("{temperature: 0.5}", "temperature", "does not say how", "{only: 0.5}"),
        ("{temperature: }", "temperature", "does not say how", "write no"),
        ("{temperature: [1]}", "temperature", "does not say how", "write no"),
        ("{temperature: {onyl: 1}}", "temperature.onyl", "no such key", "write only"),
        ("{temperature: {only: [1]}}", "temperature.only", "must be", "write"),
        ("{top_p: top_p}", "top_p", "renamed to itself", "write yes"),
        ("{top_p: top p}", "top_p", "not the name of a parameter", "write no"),
        ("{top p: no}", '"top p"', "not the name of a parameter", "temperature"),
        ("{top_p: model}", "top_p", "part of every request", "another"),
        ("{messages: no}", "messages", "part of every request", "take the line out"),
        ("{stream: streaming}", "stream", "part of every request", "take the line out"),
        ("{tools: no}", "tools", "not be the requested one", "chains"),
        ("{response_format: no}", "response_format", "not be the requested one", "chains"),
        ("{a: b, b: c}", "a", "renamed itself", "b: yes"),
        ("{a: b, b: no}", "a", "does not accept either", "no for both"),
        ("{a: b, b: a}", "a", "renamed itself", "b: yes"),
        ("{developer_role: no}", "developer_role", "cannot be left out", "system or user"),
        ("{developer_role: developer}", "developer_role", "role to send instead", "system"),
        ("{developer_role: {only: system}}", "developer_role", "role to send instead", "system"),
        ("{assistant_role: user}", "assistant_role", "not a role that can be replaced", "developer_role"),
        ("[temperature]", "", "must be a mapping", "mapping"),
        ("temperature", "", "must be a mapping", "mapping"),
    ],
)
def test_a_mapping_that_no_request_could_follow_is_rejected(mapping: str, key: str, problem: str, fix: str):
    path = f"models.small.parameter_mapping.{key}".removesuffix(".")
    found = {each.key: each for each in refused(with_mapping(mapping))}
    assert problem in found[path].problem
    assert fix in found[path].fix
    of_provider = {each.key: each for each in refused(with_mapping("{}", of_provider=mapping))}
    assert problem in of_provider[path.replace("models.small", "providers.here")].problem


def test_a_model_does_not_contradict_its_provider():
    (problem,) = refused(with_mapping("{a: b}", of_provider="{b: no}"))
    assert (problem.key, problem.fix) == ("models.small.parameter_mapping.a", "write no for both")
    assert load(with_mapping("{a: b, b: yes}", of_provider="{b: no}")).parameter_mapping_of("small") == {
        "a": "b",
        "b": True,
    }
