"""A9: a preset is enough to use a provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.contract.events import Event, ModelAvailabilityChanged
from tests.fault.worker.providers.rows.single_models import Single, ask_each
from tests.harness.providers.scripted_provider import Call
from tests.harness.requests.replies import ReceivedReply

NAMES = (
    "openai",
    "azure",
    "groq",
    "gemini",
    "anthropic",
    "mistral",
    "deepseek",
    "xai",
    "openrouter",
    "together",
    "fireworks",
    "vllm",
    "ollama",
    "llama.cpp",
    "lm-studio",
)
KEYED = set(NAMES) - {"vllm", "ollama", "llama.cpp", "lm-studio"}
VARIABLES = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "GROQ_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_API_KEY",
    "MISTRAL_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
    "OPENROUTER_API_KEY",
    "TOGETHER_API_KEY",
    "FIREWORKS_API_KEY",
)
"""The variable names in the documentation of the providers."""
PRESETS = {name: Single(f"a-model-of-{name}", {"preset": name}) for name in NAMES}
ENV = {variable: f"key-of-{variable}" for variable in VARIABLES}


Done = tuple[dict[str, ReceivedReply], list[Event], list[Call]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    with ask_each(
        tmp_path_factory.mktemp("presets"), PRESETS, env=ENV, kind=ModelAvailabilityChanged
    ) as result:
        yield result


@pytest.mark.parametrize("name", NAMES)
def test_a9_a_preset_is_enough(done: Done, name: str) -> None:
    received, events, calls = done

    assert received[name].code is None, received[name].end
    assert received[name].text == f"from {PRESETS[name].model}"
    assert [event for event in events if event.model == name] == []
    keys = {call.key for call in calls if call.model == PRESETS[name].model}
    assert all(key.startswith("key-of-") for key in keys) == (name in KEYED)
