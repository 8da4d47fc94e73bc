from pathlib import Path

import pytest

from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from services.simulator.settings import Settings, load


def test_an_empty_environment_gives_the_defaults():
    assert load({}) == Settings()


def test_every_setting_is_read():
    settings = load(
        {
            "SIMULATOR_HOST": "0.0.0.0",  # noqa: S104 - the address used in a container
            "SIMULATOR_PORT": "0",
            "SIMULATOR_API_KEYS": "a, b",
            "SIMULATOR_MODELS": "m,n",
            "SIMULATOR_LIMITS": '{"m": {"requests_per_minute": 3, "algorithm": "token_bucket"}}',
            "SIMULATOR_CONTEXT": '{"m": 8192}',
            "SIMULATOR_FIRST_TOKEN_MS": "12.5",
            "SIMULATOR_TOKENS_PER_SECOND": "100",
            "SIMULATOR_LATENCY_MS": "3",
            "SIMULATOR_HEADER_STYLE": "groq",
        }
    )
    assert (settings.api_keys, settings.models, settings.port) == ({"a", "b"}, ("m", "n"), 0)
    assert settings.limits["m"].requests_per_minute == 3
    assert (settings.context_tokens, settings.header_style) == ({"m": 8192}, "groq")
    assert (settings.speed.first_token_ms, settings.speed.tokens_per_second) == (12.5, 100)


def test_k6_all_errors_are_reported_together():
    wrong = {
        "SIMULATOR_PORT": "seventy",
        "SIMULATOR_LIMITS": '{"m": {"requests_per_minite": 3}}',
        "SIMULATOR_LATENCY_MS": "-1",
        "SIMULATOR_HEADER_STYLE": "azure",
    }
    with pytest.raises(ConfigurationRefused) as error:
        load(wrong)
    assert len(error.value.problems) == len(wrong)
    for name in wrong:
        assert name in str(error.value)


def test_k6_a_wrong_value_is_quoted_as_those_of_other_services_unless_it_may_be_a_secret():
    with pytest.raises(ConfigurationRefused) as error:
        load({"SIMULATOR_PORT": "seventy", "SIMULATOR_LATENCY_MS": "sk-" + "a1B2" * 10})
    port, latency = str(error.value).splitlines()
    assert port == (
        'environment: SIMULATOR_PORT = "seventy": must be a whole number between 0 and 65535.'
        " Fix: leave it out for 9100."
    )
    assert latency.startswith("environment: SIMULATOR_LATENCY_MS: must be a number")
    assert "a1B2" not in latency


def test_the_shipped_catalogue_uses_the_default_address():
    provider = read_catalogue(Path("simulator"), {}).providers["simulator"]
    assert provider.base_url == f"http://127.0.0.1:{load({}).port}/v1"
