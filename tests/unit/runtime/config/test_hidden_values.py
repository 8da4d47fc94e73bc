"""A message about a catalogue or the environment never shows what may be a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.bus.masking import looks_secret
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.settings import load_settings
from penstock.runtime.config.shipped import default_catalogue, shipped_catalogues
from tests.unit.runtime.config.example import RIGHT

PASSWORD = "hunter2"  # noqa: S105 - an example
PROVIDER = "  here:\n"
KEYS = (
    "sk-proj-AbCdEfGh1234567890",
    "sk-ant-api03-AbCd_Ef-Gh12",
    "gsk_AbCdEfGh1234",
    "xai-AbCdEfGh1234",
    "AIzaSyAbCdEfGh1234",
    "0123456789abcdef0123456789abcdef",
    "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "3f2b6c1e-8a44-4f0e-9d0b-1c2d3e4f5a6b",
    "Bearer hunter2",
)


def said(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationRefused) as caught:
        load_catalogue(text, source="mine.yaml", env=env or {})
    return f"{caught.value} {caught.value.problems!r}"


@pytest.mark.parametrize(
    "entry",
    [
        f"api_key: {PASSWORD}",
        f"apikey: {PASSWORD}",
        f"anything: {PASSWORD}",
        f'anything: "{PASSWORD} ${{UNSET}}"',
        f'anything: {{below: ["{PASSWORD} ${{UNSET}}"]}}',
        f"api_key_env: {PASSWORD}",
        f"api_key_env: [{PASSWORD}, {PASSWORD}]",
        f"api_key: !{PASSWORD}",
        f'base_url: "http://h/v1/chat/completions?api_key={PASSWORD}"',
        f"parameter_mapping: {{max_tokenz: {PASSWORD}}}",
    ],
)
def test_a_message_shows_no_value_that_may_be_a_secret(entry: str) -> None:
    right = RIGHT.replace("    api_key_env: [HERE_KEY]\n", "") if "api_key_env" in entry else RIGHT
    right = right.replace("    base_url: https://here.example/v1\n", "") if "base_url" in entry else right
    assert PASSWORD not in said(right.replace(PROVIDER, f"{PROVIDER}    {entry}\n", 1))


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        f'["{PASSWORD} ${{UNSET}}"]',
        f"api_key: {PASSWORD}\n{RIGHT}",
        RIGHT.replace("providers:\n", f"providers:\n  own: {PASSWORD}\n"),
    ],
)
def test_nor_does_one_about_a_text_in_place_of_a_section(text: str) -> None:
    assert PASSWORD not in said(text)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_not_shown_wherever_it_stands(key: str) -> None:
    for line in (f"base_url: {key}", f"sdk: {key}", f"preset: {key}", f'"{key}": x', f'sdk: "${{{key}}}"'):
        entry = f"{PROVIDER}    {line}\n    api_key_env: [HERE_KEY]\n"
        begin, _, rest = RIGHT.partition(PROVIDER)
        text = begin + entry + rest[rest.index("models:") :]
        assert key.removeprefix("Bearer ") not in said(text)


def test_a_certificate_file_from_the_environment_is_not_shown() -> None:
    text = RIGHT.replace(PROVIDER, f"{PROVIDER}    ca_file: ${{PLACE}}\n", 1)
    assert PASSWORD not in said(text, {"PLACE": PASSWORD})


@pytest.mark.parametrize("key", KEYS)
def test_a_variable_with_a_key_is_named_without_it(key: str) -> None:
    with pytest.raises(ConfigurationRefused) as caught:
        load_settings({"PENSTOCK_DRAIN_S": key})
    assert "PENSTOCK_DRAIN_S: must be a number" in str(caught.value)
    assert key.removeprefix("Bearer ") not in repr(caught.value)


def test_a_variable_named_like_a_secret_is_not_quoted() -> None:
    problem = Problem(key="PENSTOCK_SOME_TOKEN", value=f'"{PASSWORD}"', problem="is wrong", fix="correct it")
    assert PASSWORD not in problem.as_line("environment")


def test_ordinary_names_are_not_taken_for_keys() -> None:
    names = [str(file) for file in shipped_catalogues().values()]
    names += [default_catalogue({}), "meta-llama/Llama-3.3-70B-Instruct-Turbo", "claude-3-5-sonnet-20241022"]
    names += ["accounts/fireworks/models/deepseek-v3p1", "gpt-4o-mini-2024-07-18", "https://here.example/v1"]
    assert not [name for name in names if looks_secret(name.replace(str(Path.cwd()), ""))]
    texts = [file.read_text() for file in shipped_catalogues().values()]
    assert not [line for text in texts for line in text.splitlines() if looks_secret(line)]
