"""The list of models: `auto` and the roles, and which are available now."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contract.names import implicit_role
from penstock.contract.presence import Presence, RoleStatus
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig
from penstock.runtime.config.load import read_catalogue
from services.edge.listing.live_workers import LiveWorkers
from services.edge.listing.models import ModelList


def worker(*roles: str, withdrawn: tuple[str, ...] = ()) -> Presence:
    statuses = tuple(RoleStatus(role=role, slots=1, running=0) for role in roles)
    return Presence(service="worker", instance="w", at_ms=0, roles=statuses, withdrawn_models=withdrawn)


@pytest.fixture
def workers() -> LiveWorkers:
    return LiveWorkers()


@pytest.fixture
def models(workers: LiveWorkers) -> ModelList:
    return ModelList(read_catalogue(None, {"PENSTOCK_CATALOGUE": "openai", "OPENAI_API_KEY": "k"}), workers)


def by_id(models: ModelList, now_s: float = 0.0) -> dict[str, Any]:
    return {entry["id"]: entry for entry in models.all(now_s)}


def test_k2_auto_and_roles_are_listed_with_models_and_prices(models: ModelList, workers: LiveWorkers):
    workers.observe("w", worker("coding"), 0.0)
    listed = by_id(models)
    assert tuple(listed)[: len(models.roles)] == models.roles
    assert models.roles[0] == "auto"
    assert {listed[name]["penstock"]["kind"] for name in models.roles} == {"role"}
    assert listed["chat"]["penstock"]["requests"] == listed["auto"]["penstock"]["requests"] == "chat"
    assert all(entry["object"] == "model" for entry in listed.values())
    coding = listed["coding"]["penstock"]
    assert coding["available"] is True
    assert listed["chat"]["penstock"]["available"] is False
    first = coding["chain"][0]
    assert first["provider"] == "openai"
    assert first["context_tokens"] <= coding["context_tokens"]
    prices = first["usd_per_million_tokens"]
    assert 0 < prices["cached_input"] <= prices["input"] < prices["output"] < 1_000


def test_f4_an_unknown_price_is_listed_as_such(workers: LiveWorkers):
    catalogue = Catalogue(
        name="c",
        providers={"p": ProviderConfig()},
        models={"m": Model(provider="p")},
        roles={"chat": RoleConfig(chain=("m",))},
    )
    (chat,) = by_id(ModelList(catalogue, workers))["chat"]["penstock"]["chain"]
    assert chat["usd_per_million_tokens"] is None


def test_b1_auto_lists_the_roles_that_the_router_may_choose(models: ModelList):
    auto = by_id(models)["auto"]["penstock"]
    assert {"chat", "logic", "coding", "vision", "long_context"} <= set(auto["roles"])
    assert "reasoning" not in auto["roles"]
    contexts = [by_id(models)[role]["penstock"]["context_tokens"] for role in auto["roles"]]
    assert auto["context_tokens"] == max(contexts)
    assert auto["vision"] is True


def test_a5_a_model_that_every_worker_found_withdrawn_is_not_available(
    models: ModelList, workers: LiveWorkers
):
    def is_available() -> bool:
        return bool(by_id(models)["coding"]["penstock"]["chain"][0]["available"])

    name = by_id(models)["coding"]["penstock"]["chain"][0]["model"]
    workers.observe("a", worker("coding", withdrawn=(name,)), 0.0)
    assert not is_available()
    workers.observe("b", worker("coding"), 0.0)
    assert is_available()


def test_k2_one_entry_is_found_by_its_name(models: ModelList):
    assert (models.get("auto", 0.0) or {})["id"] == "auto"
    assert (models.get("gpt-4o", 0.0) or {})["id"] == "gpt-4o"
    assert models.get("gpt-5o", 0.0) is None


def test_d9_a_worker_is_alive_until_it_stops_or_is_silent(workers: LiveWorkers):
    workers.observe("a", worker("coding", "chat"), 0.0)
    workers.observe("b", worker("chat"), 4.0)
    assert workers.served(7.0) == {"coding", "chat"}
    workers.observe("edge", worker(), 8.0)
    assert workers.served(11.0) == {"chat"}, "a was silent for 11 s"
    workers.observe("b", None, 12.0)
    assert workers.served(12.0) == frozenset(), "the edge itself serves no role"


def test_c3_workers_stay_alive_while_the_edge_itself_receives_nothing(workers: LiveWorkers):
    workers.observe("a", worker("coding"), 0.0)
    assert workers.served(14.0) == {"coding"}, "not even the edge's own heartbeats arrived"
    workers.observe("edge", worker(), 14.0)
    assert workers.served(19.5) == frozenset()


def test_k2_forged_heartbeats_take_bounded_memory(workers: LiveWorkers):
    for number in range(3_000):
        workers.observe(f"w{number}", worker("chat"), 0.0)
    assert len(workers.instances(0.0)) == 1_000


def test_k2_models_are_listed_after_the_roles_and_available_where_a_worker_serves_them(workers: LiveWorkers):
    catalogue = read_catalogue(None, {"PENSTOCK_CATALOGUE": "openai", "OPENAI_API_KEY": "k"})
    models = ModelList(catalogue, workers)
    named = {name: entry for name, entry in by_id(models).items() if entry["penstock"]["kind"] == "model"}
    assert set(named) == set(catalogue.models)
    entry = named["gpt-4o"]["penstock"]
    assert [model["model"] for model in entry["chain"]] == ["gpt-4o"]
    assert (entry["context_tokens"], entry["vision"], entry["available"]) == (128_000, True, False)
    workers.observe("w", worker("creative"), 0.0)
    served = {name for name, entry in by_id(models).items() if entry["penstock"]["available"]}
    assert served == {"auto", "creative", *catalogue.roles["creative"].chain}
    workers.observe("w", worker(implicit_role("o1-preview")), 1.0)
    assert by_id(models, 1.0)["o1-preview"]["penstock"]["available"] is True


def test_k2_a_model_lists_its_fallbacks_and_one_with_the_name_of_a_role_is_not_listed(workers: LiveWorkers):
    catalogue = Catalogue(
        name="test",
        providers={"p": ProviderConfig()},
        models={
            "a": Model(provider="p", fallbacks=("b",)),
            "b": Model(provider="p", context_tokens=1_000_000),
            "chat": Model(provider="p"),
        },
        roles={"chat": RoleConfig(chain=("a",))},
    )
    listed = ModelList(catalogue, workers).all(0.0)
    assert [entry["id"] for entry in listed] == ["auto", "chat", "a", "b"]
    assert [model["model"] for model in listed[2]["penstock"]["chain"]] == ["a", "b"]
    assert listed[2]["penstock"]["context_tokens"] == 1_000_000


def test_k2_embedding_models_are_listed_with_their_dimensions(models: ModelList, workers: LiveWorkers):
    workers.observe("w", worker("embed"), 0.0)
    listed = by_id(models)
    for name in ("embed", "text-embedding-3-large"):
        about = listed[name]["penstock"]
        assert about["requests"] == "embed"
        assert (about["dimensions"], about["shortens"], about["available"]) == (3_072, True, True)
    assert "dimensions" not in listed["gpt-4o"]["penstock"]
