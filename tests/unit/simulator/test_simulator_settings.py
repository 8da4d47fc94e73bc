from pathlib import Path

import pytest

from penstock.runtime.config.load import read_catalogue
from services.simulator.control.counts import Counts
from services.simulator.settings import Settings, SettingsError, load


def test_nothing_set_is_the_defaults():
    assert load({}) == Settings()


def test_everything_can_be_set():
    settings = load(
        {
            "SIMULATOR_HOST": "0.0.0.0",  # noqa: S104 - as a container has it
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


def test_k6_all_mistakes_are_told_together():
    wrong = {
        "SIMULATOR_PORT": "seventy",
        "SIMULATOR_LIMITS": '{"m": {"requests_per_minite": 3}}',
        "SIMULATOR_LATENCY_MS": "-1",
        "SIMULATOR_HEADER_STYLE": "azure",
    }
    with pytest.raises(SettingsError) as error:
        load(wrong)
    assert len(error.value.problems) == len(wrong)
    for name in wrong:
        assert name in str(error.value)


def test_every_attempt_ends_in_exactly_one_column():
    counts = Counts()
    outcomes = ["ok", "cut", "cancelled", 429, 503, 503]
    attempts = [counts.begin("m", f"req_{i}", "", 0.0) for i in range(len(outcomes) + 1)]
    for attempt, outcome in zip(attempts, outcomes, strict=False):
        attempt.outcome = outcome
        counts.end(attempt)
    model = counts.report()["models"]["m"]
    assert (model.ok, model.cut, model.cancelled, model.in_flight) == (1, 1, 1, 1)
    assert (model.attempts, model.max_in_flight, model.errors) == (7, 7, {"429": 1, "503": 2})


def test_an_attempt_from_before_a_reset_is_not_counted_after_it():
    counts = Counts()
    old = counts.begin("m", "req_1", "", 0.0)
    counts.reset()
    counts.begin("m", "req_2", "", 0.0)
    counts.end(old)
    model = counts.report()["models"]["m"]
    assert (model.attempts, model.in_flight, model.cancelled) == (1, 1, 0)


def test_the_shipped_catalogue_looks_for_it_where_it_listens_by_default():
    provider = read_catalogue(Path("simulator"), {}).providers["simulator"]
    assert provider.base_url == f"http://127.0.0.1:{load({}).port}/v1"
