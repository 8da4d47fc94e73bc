"""The list of models: `auto` and the roles, and which are available now."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contract.presence import Presence, RoleStatus
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
    assert tuple(listed) == models.names
    assert models.names[0] == "auto"
    assert "embed" not in listed
    assert all(entry["object"] == "model" for entry in listed.values())
    coding = listed["coding"]["penstock"]
    assert coding["available"] is True
    assert listed["chat"]["penstock"]["available"] is False
    first = coding["chain"][0]
    assert first["model"] not in listed
    assert first["provider"] == "openai"
    assert first["context_tokens"] <= coding["context_tokens"]
    prices = first["usd_per_million_tokens"]
    assert 0 < prices["cached_input"] <= prices["input"] < prices["output"] < 1_000


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
    assert models.get("gpt-4o", 0.0) is None


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
