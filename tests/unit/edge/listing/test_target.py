"""K2, B2: what the field `model` names."""

from __future__ import annotations

import pytest

from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig
from services.edge.listing.target import Target, target_of

NAMES = ("gpt-oss-120b", "llama3:8b", "deepseek/r1:free", "odd:simple", "fast", "auto", "other")
CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig()},
    models={name: Model(provider="p") for name in NAMES},
    roles={name: RoleConfig(chain=("other",)) for name in ("chat", "coding", "fast")},
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("auto", Target()),
        ("coding", Target(role="coding")),
        ("coding:complex", Target(role="coding", complexity="complex")),
        ("auto:simple", Target(complexity="simple")),
        ("gpt-oss-120b", Target(model="gpt-oss-120b")),
        ("llama3:8b", Target(model="llama3:8b")),
        ("deepseek/r1:free", Target(model="deepseek/r1:free")),
        ("odd:simple", Target(model="odd:simple")),
        ("fast", Target(role="fast")),
        ("fast:medium", Target(role="fast", complexity="medium")),
    ],
)
def test_roles_complexities_and_models_are_told_apart(text: str, target: Target) -> None:
    assert target_of(text, CATALOGUE) == target
    assert target.name in {text, text.rpartition(":")[0]}


@pytest.mark.parametrize(
    "text", ["", ":simple", "coding:", "GPT-OSS-120B", "llama3:9b", "gpt-oss-120b:simple"]
)
def test_a_name_that_is_neither_is_left_to_the_router_as_a_role(text: str) -> None:
    assert target_of(text, CATALOGUE) == Target(role=text)


def test_an_unknown_role_keeps_its_complexity() -> None:
    assert target_of("unknown:medium", CATALOGUE) == Target(role="unknown", complexity="medium")
