"""A1-A4: what ships can be used, and is as promised."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.contract.names import ROLES
from penstock.runtime.config.budgets.section import ScopeBudget, TrafficBudget
from penstock.runtime.config.load import locate_catalogue, read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.shipped import shipped_catalogues

NAMES = ["groq", "groq-original.example", "openai", "openai-original.example", "simulator"]


def shipped(name, **env):
    return read_catalogue(Path(name), env)


def test_exactly_these_ship():
    assert sorted(shipped_catalogues()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_catalogue_loads_without_any_variable_set(name):
    catalogue = shipped(name)
    assert name.startswith(catalogue.name)
    used = {model for role in catalogue.roles.values() for model in role.chain}
    assert used == set(catalogue.models), "each model that is described is used"


@pytest.mark.parametrize("name", NAMES)
def test_f4_every_shipped_price_has_its_day_and_its_source(name):
    prices = [model.price for model in shipped(name).models.values()]
    assert all(price is not None and price.as_of and price.source for price in prices)


@pytest.mark.parametrize("name", NAMES)
def test_creative_is_never_warmer_than_0_4(name):
    """A4."""
    creative = shipped(name).roles.get("creative")
    assert creative is None or creative.ceilings.temperature <= 0.4


@pytest.mark.parametrize("name", ["groq", "openai", "simulator"])
def test_the_timeouts_and_attempts_asked_for(name):
    """D1, D2: 90 s chat, 30 s embeddings, 120 s reasoning; 4 attempts, 5 for embeddings."""
    roles = shipped(name).roles
    assert (roles["chat"].timeouts.total_s, roles["chat"].retry.max_attempts) == (90, 4)
    assert roles["reasoning"].timeouts.total_s == 120
    if "embed" in roles:
        assert (roles["embed"].timeouts.total_s, roles["embed"].retry.max_attempts) == (30, 5)
        assert roles["embed"].slots_per_worker == 64
    for role in roles.values():
        # A call that may take longer than the whole request leaves no room for the fallback's.
        assert role.timeouts.non_streaming_s < role.timeouts.total_s


def test_the_simulator_serves_every_role_with_a_fallback_and_no_limits():
    """A1, A2."""
    catalogue = shipped("simulator")
    assert set(catalogue.roles) == set(ROLES)
    chains = {name: role.chain for name, role in catalogue.roles.items()}
    assert chains.pop("embed") == ("local-multilingual",), "vectors of two models cannot be mixed"
    assert all(len(chain) >= 2 for chain in chains.values())
    assert all(model.limits.is_unlimited for model in catalogue.models.values())
    assert catalogue.roles["creative"].chain[0] == "sim-creative-large--503"
    assert not any(provider.api_key_env for provider in catalogue.providers.values())


@pytest.mark.parametrize("role", ["chat", "logic", "coding", "vision", "long_context", "reasoning"])
def test_the_simulator_has_a_cheap_and_a_premium_end_to_choose_from(role):
    """B2."""
    catalogue = shipped("simulator")
    first, *_, last = (catalogue.models[name].price for name in catalogue.roles[role].chain)
    assert catalogue.roles[role].order_by_complexity
    assert first.input > 5 * last.input
    assert first.output > 5 * last.output


def test_the_simulator_is_found_where_penstock_up_started_it():
    catalogue = shipped("simulator", PENSTOCK_SIMULATOR_URL="http://127.0.0.1:4711")
    assert catalogue.providers["simulator"].base_url == "http://127.0.0.1:4711/v1"


def test_the_groq_catalogue_is_that_of_november_2026():
    """A3."""
    catalogue = shipped("groq")
    assert set(catalogue.models) == {
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
        "openai/gpt-oss-safeguard-20b",
        "qwen/qwen3.6-27b",
        "local-multilingual",
    }
    for model in (each for each in catalogue.models.values() if each.provider == "groq"):
        limits = model.limits
        assert (limits.requests_per_minute, limits.requests_per_day) == (30, 1_000)
        assert (limits.tokens_per_minute, limits.tokens_per_day) == (8_000, 200_000)
    assert set(ROLES) == set(catalogue.roles)


def test_the_original_table_of_groq():
    """A3."""
    chains = {role: config.chain for role, config in shipped("groq-original.example").roles.items()}
    assert chains == {
        "chat": ("llama-3.3-70b-versatile", "llama-4-maverick"),
        "logic": ("qwen3-32b", "gpt-oss-120b"),
        "coding": ("qwen3-32b", "kimi-k2"),
        "vision": ("llama-4-maverick", "llama-4-scout"),
        "long_context": ("kimi-k2", "gpt-oss-120b"),
        "fast": ("llama-4-scout", "llama-3.1-8b-instant"),
        "safety": ("llama-guard-4-12b", "gpt-oss-safeguard-20b"),
    }


@pytest.mark.parametrize(
    ("role", "model", "temperature", "max_tokens", "penalties"),
    [
        ("chat", "gpt-4o-mini", 0.25, 2000, (0.1, 0)),
        ("logic", "gpt-4o", 0.25, 2500, (0.1, 0)),
        ("fast", "gpt-3.5-turbo", 0.2, 1200, (0.1, 0)),
        ("creative", "gpt-4o", 0.4, 2000, (0.3, 0.2)),
    ],
)
def test_openai_has_the_parameters_asked_for(role, model, temperature, max_tokens, penalties):
    """A4."""
    config = shipped("openai").roles[role]
    parameters = config.parameters
    assert config.chain[0] == model
    assert (parameters.temperature, parameters.top_p, parameters.max_tokens) == (temperature, 0.9, max_tokens)
    assert (parameters.frequency_penalty, parameters.presence_penalty) == penalties


WITHDRAWN = {"o1-preview", "gpt-3.5-turbo"}
"""By OpenAI, as of November 2026 (developers.openai.com/api/docs/deprecations)."""


def test_each_withdrawn_openai_model_has_a_served_fallback():
    catalogue = shipped("openai")
    for role in catalogue.roles.values():
        for place, model in enumerate(role.chain):
            assert model not in WITHDRAWN or role.chain[place + 1] not in WITHDRAWN
    assert catalogue.roles["fast"].chain == ("gpt-3.5-turbo", "gpt-4o-mini", "gpt-6-luna")
    assert catalogue.roles["reasoning"].chain == ("o1-preview", "gpt-6.1-sol", "gpt-4o")
    assert catalogue.parameter_mapping_of("gpt-6.1-sol")["max_tokens"] == "max_completion_tokens"
    assert catalogue.parameter_mapping_of("gpt-6.1-sol")["temperature"] is False
    assert catalogue.parameter_mapping_of("gpt-4o-mini") == {"reasoning_effort": False}, (
        "gpt-6-luna rejects these parameters"
    )


def test_the_breaker_of_openai_has_the_values_of_its_source():
    breaker = shipped("openai").breaker
    assert (breaker.open_s, breaker.probe_interval_s) == (60, 30)


def test_the_original_table_of_openai():
    """A4."""
    chains = {role: config.chain for role, config in shipped("openai-original.example").roles.items()}
    assert chains == {
        "chat": ("gpt-4o-mini", "gpt-4o"),
        "logic": ("gpt-4o", "gpt-4o-mini"),
        "coding": ("gpt-4o", "gpt-4o-mini"),
        "vision": ("gpt-4o", "gpt-4o-mini"),
        "long_context": ("gpt-4o-mini", "gpt-4o"),
        "fast": ("gpt-3.5-turbo", "gpt-4o-mini"),
        "creative": ("gpt-4o", "gpt-4o-mini"),
        "reasoning": ("o1-preview", "gpt-4o"),
        "safety": ("gpt-4o-mini", "gpt-4o"),
        "embed": ("text-embedding-3-large",),
    }


def test_openai_o1_is_sent_no_parameter_that_it_rejects():
    """A4."""
    config = shipped("openai").roles["reasoning"]
    assert (config.chain[0], config.parameters.temperature, config.parameters.max_tokens) == (
        "o1-preview",
        1.0,
        4096,
    )
    assert (
        config.parameters.top_p
        is config.parameters.frequency_penalty
        is config.parameters.presence_penalty
        is None
    )


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "simulator"),
        ({"GROQ_API_KEY": "k"}, "groq"),
        ({"GROQ_API_KEY": "", "OPENAI_API_KEY": "k"}, "openai"),
        ({"GROQ_API_KEY": "k", "OPENAI_API_KEY": "k"}, "groq"),
        ({"GROQ_API_KEY": "k", "PENSTOCK_CATALOGUE": "openai"}, "openai"),
    ],
)
def test_the_default_catalogue_is_the_one_with_a_key(env, name):
    assert read_catalogue(None, env).name == name


def test_a_path_names_a_file(tmp_path):
    mine = tmp_path / "groq"
    mine.write_text((shipped_catalogues()["openai"]).read_text(encoding="utf-8"), encoding="utf-8")
    assert locate_catalogue(None, {"PENSTOCK_CATALOGUE": str(mine)}) == mine
    assert read_catalogue(mine, {}).name == "openai"


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (Path.exists, "no such file"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
        (lambda path: path.write_text(""), "is empty.*copy of a shipped catalogue, in .*/catalogues"),
    ],
)
def test_an_unreadable_file_is_rejected_with_a_reason(tmp_path, prepare, said):
    prepare(tmp_path / "mine.yaml")
    with pytest.raises(ConfigurationRefused, match=said):
        read_catalogue(tmp_path / "mine.yaml", {})


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ConfigurationRefused, match="write groq"):
        read_catalogue(Path("grok"), {})


def test_the_digest_covers_models_roles_and_routing_only():
    catalogue = read_catalogue(None, {})
    moved = read_catalogue(None, {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:7"})
    fewer_roles = replace(catalogue, roles={"chat": catalogue.roles["chat"]})

    assert catalogue.digest() == moved.digest(), "a provider address may differ between processes"
    assert catalogue.digest() != fewer_roles.digest()


TIERS = {"free": (10, 10_000), "pro": (100, 100_000), "enterprise": (1_000, 1_000_000)}


@pytest.mark.parametrize("name", ["groq", "openai", "simulator"])
def test_f3_the_tiers_have_the_limits_asked_for(name):
    budgets = shipped(name).budgets
    assert budgets is not None
    tiers = budgets.tiers.items()
    assert {key: (tier.requests_per_hour, tier.tokens_per_day) for key, tier in tiers} == TIERS


@pytest.mark.parametrize("name", ["groq", "openai"])
def test_f3_and_c5_the_budgets_of_real_providers_are_those_asked_for(name):
    budgets = shipped(name).budgets
    assert budgets is not None
    assert (budgets.system.tokens_per_minute, budgets.system.tokens_per_request) == (150_000, 4_096)
    assert budgets.system.chat == TrafficBudget(requests_per_second=10, concurrency=16)
    assert budgets.system.embed == TrafficBudget(requests_per_second=50, concurrency=64)
    assert budgets.every_account == ScopeBudget(microusd_per_day=20_000_000)
    assert budgets.every_user == ScopeBudget(
        requests_per_minute=10, tokens_per_minute=10_000, microusd_per_day=10_000_000
    )
    batch_slots = {role.batch_slots_per_worker for role in shipped(name).roles.values()}
    assert batch_slots == {4}


@pytest.mark.parametrize("name", NAMES)
def test_f4_every_model_of_a_catalogue_with_budgets_has_a_price(name):
    catalogue = shipped(name)
    if catalogue.budgets is not None:
        assert all(model.price is not None for model in catalogue.models.values())


@pytest.mark.parametrize("name", ["groq", "openai", "simulator"])
def test_g4_the_guard_is_on_and_its_local_detectors_need_no_provider(name):
    guard = shipped(name).guard
    assert guard is not None
    assert guard.input == {"prompt_injection": "flag", "secrets": "flag", "personal_data": "redact"}
    assert guard.output == {"secrets": "redact"}
    assert guard.detectors.safety_model.enabled != guard.detectors.openai_moderation.enabled


def test_h3_documents_of_openai_have_vectors_of_its_embedding_model():
    catalogue = shipped("openai")
    assert catalogue.retrieval is not None
    assert catalogue.retrieval.dimensions == 1024
    model = catalogue.models[catalogue.roles["embed"].chain[0]]
    assert model.provider == "openai"
    assert model.embedding is not None
    assert model.embedding.shortens, "it accepts dimensions"


def test_h3_documents_of_groq_have_vectors_of_the_local_encoder():
    """Groq serves no embedding model."""
    catalogue = shipped("groq")
    assert catalogue.retrieval is not None
    assert catalogue.kind_of("embed") == "embed"
    assert catalogue.providers["local"].base_url == "http://127.0.0.1:9200/v1"
    price = catalogue.models["local-multilingual"].price
    assert price is not None
    assert (price.input, price.output) == (0, 0)


@pytest.mark.parametrize("name", ["openai", "openai-original.example"])
def test_h1_the_embedding_model_of_openai_has_the_dimensions_of_its_vectors(name):
    embedding = shipped(name).models["text-embedding-3-large"].embedding
    assert embedding is not None
    assert (embedding.dimensions, embedding.shortens) == (3072, True)
