"""A7: a step of a chain may be a mapping of models and their shares."""

import yaml

from penstock.runtime.config.catalogue import WeightedStep
from penstock.runtime.config.printing import catalogue_yaml
from tests.unit.runtime.config.example import RIGHT, load, spoiled

MORE = "  mini: {provider: here}\n  tiny: {provider: here}\nroles:\n"


def with_chain(chain: str) -> str:
    return RIGHT.replace("roles:\n", MORE).replace("[large, small]", chain)


def test_a7_a_weighted_step_is_flattened_into_the_chain() -> None:
    role = load(with_chain("[tiny, {large: 70, small: 30}, mini]")).roles["chat"]
    assert role.chain == ("tiny", "large", "small", "mini")
    assert role.weighted == (WeightedStep(models=("large", "small"), weights=(70, 30)),)
    assert role.weighted[0].shares == {"large": 70, "small": 30}


def test_a7_a_chain_may_have_several_weighted_steps() -> None:
    role = load(with_chain("[{large: 1, small: 2}, {mini: 3, tiny: 4}]")).roles["chat"]
    assert role.chain == ("large", "small", "mini", "tiny")
    assert [step.weights for step in role.weighted] == [(1, 2), (3, 4)]


def test_a_chain_of_names_has_no_weighted_steps() -> None:
    assert load(RIGHT).roles["chat"].weighted == ()


def test_a7_what_is_printed_can_be_loaded_again() -> None:
    catalogue = load(with_chain("[tiny, {large: 70, small: 30}, mini]"))
    printed = yaml.safe_load(catalogue_yaml(catalogue, {}))
    assert printed["roles"]["chat"]["chain"] == ["tiny", {"large": 70, "small": 30}, "mini"]
    printed["providers"]["here"]["api_key_env"] = ["HERE_KEY"]
    assert load(yaml.safe_dump(printed)) == catalogue


def test_a7_the_provider_cooldown_is_a_minute_by_default() -> None:
    assert load(RIGHT).provider_cooldown_s == 60
    assert load(spoiled("name: mine", "name: mine\nprovider_cooldown_s: 5")).provider_cooldown_s == 5
