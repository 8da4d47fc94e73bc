"""F1: the output limit that the budget of a request needs, in the parameter that the model accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import Parameters, ProviderConfig, RoleConfig
from penstock.runtime.config.parameter_mapping import SentAs
from penstock.runtime.config.presets import preset_mapping_of_model, read_preset
from penstock.runtime.config.shipped import shipped_presets
from services.worker.providers.parameters.adapt import OUTPUT_LIMITS, rules_of
from services.worker.providers.parameters.assumed_limit import limit_of, limited, reported
from services.worker.providers.parameters.compose import compose

ROLE = RoleConfig(chain=("m",), parameters=Parameters(temperature=0.2))
MODELS = [
    (provider, model)
    for provider, file in shipped_presets().items()
    for model in ("any", *(p.strip("*") for family in read_preset(file).families for p in family.models))
]


def sent(mapping: dict[str, SentAs], **requested: Any) -> tuple[dict[str, Any], tuple[Adapted, ...]]:
    """The output limits that are sent, and the reported changes."""
    body = json.dumps({"messages": [], **requested}).encode()
    adaptation = rules_of(mapping, "why")
    made, adapted = compose(body, model="m", role=limited(ROLE, 4096), adaptation=adaptation, stream=False)
    fields = {name: value for name, value in json.loads(made).items() if name in OUTPUT_LIMITS}
    return fields, reported(adapted, 4096)


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_f1_every_known_model_gets_the_limit_once_and_the_reply_says_so(provider: str, model: str) -> None:
    config = ProviderConfig(preset=provider, api_key_env=("KEY",))
    mapping = preset_mapping_of_model(config, model)
    fields, adapted = sent(mapping)
    assert list(fields.values()) == [4096]
    assert list(fields) == [mapping.get("max_tokens", "max_tokens")]
    (limit,) = (each for each in adapted if each.parameter in OUTPUT_LIMITS)
    assert (limit.parameter, limit.change, limit.sent) == ("max_tokens", "replaced", "4096")
    assert "the budget reserves" in limit.why


@pytest.mark.parametrize("null", [{"max_tokens": None}, {"max_completion_tokens": None}])
def test_f1_a_limit_of_null_is_none(null: dict[str, Any]) -> None:
    fields, _ = sent({}, **null)
    assert fields["max_tokens"] == 4096


def test_other_changes_are_reported_too() -> None:
    _, adapted = sent({"max_tokens": "max_completion_tokens", "temperature": False})
    assert [(each.parameter, each.change) for each in adapted] == [
        ("max_tokens", "replaced"),
        ("temperature", "omitted"),
    ]


def test_f1_a_model_that_accepts_no_limit_is_reported_as_one() -> None:
    fields, adapted = sent({"max_tokens": False})
    assert fields == {}
    assert [(each.parameter, each.change) for each in adapted] == [("max_tokens", "omitted")]


@pytest.mark.parametrize(
    ("input_tokens", "context_tokens", "limit"),
    [(10, 128_000, 4096), (4000, 8192, 8192 - 5016), (8000, 8192, 256), (10, 128, 256)],
)
def test_f1_the_limit_leaves_room_for_the_input(input_tokens: int, context_tokens: int, limit: int) -> None:
    assert limit_of(4096, input_tokens, context_tokens) == limit


def test_f1_the_limit_is_never_above_what_is_reserved() -> None:
    assert limit_of(100, 8000, 8192) == 100
