"""K2: the implicit role of each model, from which a request that names the model is served."""

from __future__ import annotations

import yaml

from penstock.contract.names import implicit_role
from penstock.runtime.config.catalogue import Parameters, RoleConfig, WeightedStep
from penstock.runtime.config.printing import catalogue_yaml
from tests.unit.runtime.config.example import RIGHT, load

WITH_FALLBACK = RIGHT.replace("limits: {requests_per_minute: 30}", "fallbacks: [large]")
CODING = """\
  coding:
    chain: [{small: 70, large: 30}]
    auto: {keywords: [code]}
    slots_per_worker: 3
    timeouts: {total_s: 70}
    retry: {max_attempts: 2}
    degradation: {on_errors: {enabled: no}}
"""


def role_of(text: str, model: str) -> RoleConfig:
    return load(text).implicit_roles[implicit_role(model)]


def test_each_model_has_a_role_with_itself_as_the_chain() -> None:
    roles = load(RIGHT).implicit_roles
    assert {name: role.chain for name, role in roles.items()} == {
        "model-large": ("large",),
        "model-small": ("small",),
    }


def test_a_model_has_fallbacks_only_where_the_catalogue_gives_it_some() -> None:
    assert role_of(WITH_FALLBACK, "small").chain == ("small", "large")
    assert role_of(WITH_FALLBACK, "large").chain == ("large",)


def test_the_named_model_comes_first_whatever_the_complexity() -> None:
    assert not role_of(WITH_FALLBACK, "small").order_by_complexity


def test_time_limits_slots_and_retries_are_those_of_the_role_that_prefers_the_model() -> None:
    role = role_of(RIGHT + CODING, "small")
    assert (role.slots_per_worker, role.timeouts.total_s, role.retry.max_attempts) == (3, 70, 2)
    assert role.degradation is not None
    assert not role.degradation.on_errors.enabled
    assert role_of(RIGHT + CODING, "large").slots_per_worker == RoleConfig(chain=("large",)).slots_per_worker


def test_parameters_weights_and_keywords_of_the_role_do_not_apply_to_the_model() -> None:
    role = role_of(RIGHT + CODING, "small")
    assert (role.weighted, role.auto) == ((), None)
    large = role_of(RIGHT, "large")
    assert (large.parameters, large.ceilings) == (Parameters(), Parameters())
    assert load(RIGHT + CODING).roles["coding"].weighted == (
        WeightedStep(models=("small", "large"), weights=(70, 30)),
    )


def test_a_model_in_no_chain_has_the_defaults() -> None:
    unused = RIGHT.replace("roles:", "  spare:\n    provider: here\nroles:")
    assert role_of(unused, "spare") == RoleConfig(chain=("spare",), order_by_complexity=False)


def test_the_implicit_roles_of_roles_are_those_of_their_chains() -> None:
    catalogue = load(RIGHT + CODING)
    assert catalogue.implicit_roles_of(["chat"]) == ("model-large", "model-small")
    assert catalogue.implicit_roles_of(["coding", "chat"]) == ("model-small", "model-large")
    assert catalogue.implicit_roles_of(["model-large", "unknown"]) == ()


def test_the_roles_of_the_file_stay_apart_from_the_implicit_ones() -> None:
    catalogue = load(WITH_FALLBACK)
    assert list(catalogue.roles) == ["chat"]
    assert list(catalogue.all_roles) == ["chat", "model-large", "model-small"]
    assert list(yaml.safe_load(catalogue_yaml(catalogue, {}))["roles"]) == ["chat"]


def test_the_printed_catalogue_with_fallbacks_is_valid_and_the_same() -> None:
    catalogue = load(WITH_FALLBACK)
    assert load(catalogue_yaml(catalogue, {})) == catalogue


def test_routers_and_workers_with_other_fallbacks_have_another_digest() -> None:
    assert (
        load(RIGHT.replace("limits: {requests_per_minute: 30}", "")).digest() != load(WITH_FALLBACK).digest()
    )
