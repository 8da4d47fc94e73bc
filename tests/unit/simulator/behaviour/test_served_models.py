import pytest

from penstock.runtime.config.load import read_catalogue
from services.encoder.request import MODEL
from services.simulator.behaviour.errors import flaky_fails, flapping_fails
from services.simulator.behaviour.model_names import (
    Behaviour,
    ModelName,
    UnknownBehaviourError,
    parse_behaviour,
    parse_model,
)
from services.simulator.behaviour.served_models import DEFAULT_MODELS, ServedModels
from services.simulator.http.errors import ApiError


@pytest.mark.parametrize(
    ("name", "base", "behaviour"),
    [
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", None),
        ("m--slow", "m", Behaviour("slow", 5)),
        ("m--slow=0.2", "m", Behaviour("slow", 0.2)),
        ("m--429=7", "m", Behaviour("429", 7)),
        ("m--cut=0", "m", Behaviour("cut", 0)),
        ("m--no-done", "m", Behaviour("no-done")),
    ],
)
def test_a_model_name_has_a_base_and_a_behaviour(name, base, behaviour):
    assert parse_model(name) == ModelName(name, base, behaviour)
    assert behaviour is None or parse_behaviour(str(behaviour)) == behaviour


@pytest.mark.parametrize(
    "text", ["sloww", "slow=", "slow=x", "slow=-1", "slow=inf", "flaky=1.1", "503=2", "flapping=0"]
)
def test_a_mistyped_behaviour_is_an_error(text):
    with pytest.raises(UnknownBehaviourError):
        parse_behaviour(text)
    with pytest.raises(ApiError) as error:
        ServedModels().find(f"m--{text}")
    assert error.value.status == 404


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.9, 1])
def test_flaky_fails_its_exact_share_evenly_spread(share):
    fails = [flaky_fails(attempt, share) for attempt in range(1000)]
    assert sum(fails) == pytest.approx(1000 * share, abs=1)
    for start in range(0, 990, 10):
        assert sum(fails[start : start + 10]) == pytest.approx(10 * share, abs=1)


def test_flapping_starts_healthy_and_alternates():
    assert [flapping_fails(100.0, 100.0 + at, 2.0) for at in (0, 1.9, 2.1, 3.9, 4.1)] == [0, 0, 1, 1, 0]


def test_a_behaviour_is_set_and_removed_at_run_time():
    models = ServedModels()
    name = models.find("m")
    assert models.next_error(name, 0.0) is None
    assert models.override({"m": "503"}) == {"m": "503"}
    assert models.next_error(name, 0.0).status == 503
    assert models.next_error(models.find("m--healthy"), 0.0) is None
    assert models.override({"m": ""}) == {}
    assert models.next_error(name, 0.0) is None


def test_an_invalid_override_changes_nothing():
    models = ServedModels()
    with pytest.raises(UnknownBehaviourError):
        models.override({"a": "503", "b": "nonsense"})
    assert models.next_error(models.find("a"), 0.0) is None


def test_a5_only_configured_models_are_served_withdrawn_ones_not_listed():
    models = ServedModels(["a", "b", "c--withdrawn"])
    models.override({"b": "withdrawn"})
    assert models.listed() == ["a"]
    assert models.find("a--503").base == "a"
    with pytest.raises(ApiError) as error:
        models.find("d")
    assert error.value.code == "model_not_found"


def test_without_a_configured_list_requested_models_are_listed_too():
    models = ServedModels()
    models.find("requested")
    assert models.listed() == [*DEFAULT_MODELS, "requested"]


def test_the_shipped_catalogue_lists_the_default_models_and_the_vectors_of_the_encoder():
    written = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})
    *simulated, local = (written.model_name(key) for key in written.models)
    assert [*simulated, "sim-embed-large", "sim-embed-small"] == list(DEFAULT_MODELS)
    assert local == MODEL
