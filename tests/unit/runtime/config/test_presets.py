"""Presets of providers: data with sources, beneath what a catalogue says itself."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
import yaml

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.presets import read_preset
from penstock.runtime.config.printing import catalogue_yaml
from penstock.runtime.config.shipped import shipped_presets
from tests.unit.runtime.config.example import load, refused

NAMES = {
    "openai", "azure", "groq", "gemini", "anthropic", "mistral", "deepseek", "xai",
    "openrouter", "together", "fireworks", "vllm", "ollama", "llama.cpp", "lm-studio",
}  # fmt: skip
LOCAL = {"vllm", "ollama", "llama.cpp", "lm-studio"}
README = Path(__file__).parents[4] / "deploy" / "catalogues" / "README.md"
AZURE = ", base_url: https://me.openai.azure.com/openai/v1"


def written(provider: str, model: str = "{provider: p, name: some-model}") -> str:
    return f"name: t\nproviders:\n  p: {provider}\nmodels:\n  m: {model}\nroles: {{chat: {{chain: [m]}}}}\n"


def with_preset(name: str, more: str = "", model: str = "some-model") -> Catalogue:
    more += AZURE if name == "azure" and "base_url" not in more else ""
    return load(written(f"{{preset: {name}{more}}}", f"{{provider: p, name: {model}}}"))


def test_exactly_these_ship():
    assert set(shipped_presets()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_preset_makes_a_provider_and_names_its_sources(name: str):
    preset = read_preset(shipped_presets()[name])
    assert preset.sources
    assert all(re.match(r"https://[a-z0-9.-]+/", source) for source in preset.sources)
    assert dt.date(2026, 1, 1) < preset.checked <= dt.date(2026, 12, 31)
    provider = with_preset(name).providers["p"]
    assert provider.rate_limit_headers == preset.rate_limit_headers
    assert (provider.base_url or "https://").startswith("http://127.0.0.1:" if name in LOCAL else "https://")
    assert bool(provider.api_key_env) == (name not in LOCAL)
    assert all(key.endswith("_API_KEY") for key in provider.api_key_env)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_table_of_the_readme_is_the_data(name: str):
    preset = read_preset(shipped_presets()[name])
    rows = [
        line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")
    ]
    (row,) = rows
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    address = preset.base_url or preset.base_url_form
    assert cells[1] == (f"`{address}`" if address else "the SDK's")
    assert cells[2] == (", ".join(f"`{key}`" for key in preset.api_key_env) or "none")
    assert cells[3] == preset.rate_limit_headers
    assert cells[4] == preset.checked.isoformat()


def test_mistral_in_one_line():
    catalogue = with_preset("mistral")
    provider = catalogue.providers["p"]
    assert (provider.base_url, provider.api_key_env) == ("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",))
    mapping = catalogue.parameter_mapping_of("m")
    assert mapping["max_completion_tokens"] == "max_tokens"
    assert mapping["stream_options"] is mapping["store"] is False
    assert mapping["developer_role"] == "system"


def test_the_catalogue_overrides_its_preset():
    catalogue = with_preset(
        "gemini",
        ", base_url: 'https://proxy.example/v1', api_key_env: [MINE], parameter_mapping: {store: yes, user: no},"
        " stream: {done: required}, rate_limit_headers: openai",
    )
    provider = catalogue.providers["p"]
    assert (provider.base_url, provider.api_key_env) == ("https://proxy.example/v1", ("MINE",))
    assert provider.rate_limit_headers == "openai"
    assert (provider.stream.done, provider.stream.finish_reason) == ("required", "every")
    assert catalogue.parameter_mapping_of("m") == {"store": True, "frequency_penalty": False, "user": False}


def test_azure_asks_for_the_address():
    (problem,) = refused(written("{preset: azure}"))
    assert problem.key == "providers.p.base_url"
    assert problem.fix == "write base_url: https://YOUR-RESOURCE.openai.azure.com/openai/v1"


def test_an_unknown_preset_names_the_nearest():
    (problem,) = refused(written("{preset: mistrl}"))
    assert (problem.key, problem.fix) == ("providers.p.preset", "write mistral, if that is what you meant")
    (problem,) = refused(written("{preset: 7}"))
    assert problem.key == "providers.p.preset"


@pytest.mark.parametrize("provider", ["{preset: openai}", "{}", f"{{preset: azure{AZURE}}}"])
@pytest.mark.parametrize(
    ("model", "renamed", "sampled"),
    [
        ("gpt-4o", False, True),
        ("o1-preview", True, False),
        ("o3", True, False),
        ("gpt-5-mini", True, False),
        ("gpt-5-chat-latest", True, True),
        ("gpt-5.2", True, True),
        ("gpt-5.6-sol", True, False),
        ("gpt-6.1-sol", True, False),
        ("openai/gpt-oss-120b", False, True),
    ],
)
def test_openai_families_apply_without_naming_the_preset(
    provider: str, model: str, renamed: bool, sampled: bool
):
    mapping = load(written(provider, f"{{provider: p, name: {model}}}")).parameter_mapping_of("m")
    assert (mapping.get("max_tokens") == "max_completion_tokens") is renamed
    assert mapping.get("temperature", True) is sampled


def test_groqs_names_are_not_mistaken_for_openais():
    assert load(written("{sdk: groq}", "{provider: p, name: o3}")).parameter_mapping_of("m") == {}


def test_provider_and_model_override_a_family():
    text = written(
        "{parameter_mapping: {temperature: yes, top_p: yes}}",
        "{provider: p, name: o3, parameter_mapping: {top_p: {only: 1}}}",
    )
    mapping = load(text).parameter_mapping_of("m")
    assert mapping["temperature"] is True
    assert mapping["top_p"].only == 1  # type: ignore[union-attr]
    assert mapping["max_tokens"] == "max_completion_tokens"


def test_a_model_that_contradicts_its_preset_is_refused():
    model = "{provider: p, name: x, parameter_mapping: {max_tokens: max_completion_tokens}}"
    (problem,) = refused(written("{preset: mistral}", model))
    assert problem.fix == "write max_completion_tokens: yes beside it, or take the line out"


def test_the_effective_catalogue_can_be_printed_and_read_again():
    catalogue = with_preset("xai", model="grok-4")
    shown = yaml.safe_load(catalogue_yaml(catalogue, {}))
    assert shown["models"]["m"]["parameter_mapping"] == {
        "presence_penalty": False,
        "frequency_penalty": False,
    }
    assert shown["providers"]["p"]["base_url"] == "https://api.x.ai/v1"
    assert shown["providers"]["p"]["rate_limit_headers"] == "openai"


def test_the_penalties_of_a_model_that_does_not_reason_stay():
    assert (
        with_preset("xai", model="grok-4-fast-non-reasoning").parameter_mapping_of("m")["presence_penalty"]
        is True
    )


def test_without_a_preset_the_sdk_decides_the_headers():
    assert load(written("{}")).providers["p"].rate_limit_headers == "openai"
    assert load(written("{sdk: groq}")).providers["p"].rate_limit_headers == "groq"
    (problem,) = refused(written("{rate_limit_headers: opnai}"))
    assert problem.fix == "write openai, if that is what you meant"
