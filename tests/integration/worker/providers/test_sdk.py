"""A2: the system works with the groq SDK, which uses another HTTP library than the openai SDK."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock.contract.reply import Completed, Delta, Restarted
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system


def over_groq(chain: list[str]) -> str:
    config = yaml.safe_load(
        catalogue(
            {"chat": chain}, role={"timeouts": {"first_token_s": 2}, "retry": {"initial_backoff_s": 0.02}}
        )
    )
    config["providers"]["simulator"] = {
        "sdk": "groq",
        "base_url": "${PENSTOCK_SIMULATOR_URL}/openai/v1",
        "api_key_env": ["TEST_GROQ_KEY"],
    }
    return yaml.safe_dump(config)


@pytest.mark.parametrize("broken", ["503", "reset", "cut=5", "429=1", "malformed=3"])
async def test_a2_d4_the_groq_sdk_answers_and_falls_back(tmp_path: Path, broken: str):
    env = {"TEST_GROQ_KEY": "gsk_test_0123456789", "SIMULATOR_HEADER_STYLE": "groq"}
    config = over_groq([f"m-broken--{broken}", "m-healthy"])
    async with (
        running_system(tmp_path, "chat", config=config, env=env) as system,
        await system.client() as client,
    ):
        whole = await client.chat("Where does it go?", role="chat")
        assert (whole.model, whole.finish_reason) == ("m-healthy", "stop")
        assert whole.usage.output_tokens == 40
        text = ""
        async for event in client.stream("Where does it go?", role="chat"):
            if isinstance(event, Restarted):
                text = ""
            elif isinstance(event, Delta):
                text += event.text
        assert isinstance(event, Completed)
        assert text == whole.text


async def test_d10_a_credential_without_a_key_is_reported(tmp_path: Path):
    async with (
        running_system(tmp_path, "chat", config=over_groq(["m-healthy"])) as system,
        await system.client() as client,
    ):
        events = [event async for event in client.stream("Where?", role="chat")]
    assert events[-1].error.code == "provider_credentials"
    assert "credential" in events[-1].error.message
