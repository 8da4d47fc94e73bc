"""H2: what a refusal of a provider teaches of an embedding model, and for how long."""

from __future__ import annotations

import pytest

from penstock.runtime.config.load import load_catalogue
from services.worker.embedding.learned import LearnedLimits, Parameter, RefusedSizes
from services.worker.embedding.text_queue import BatchSize
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from tests.harness.processes.catalogues import catalogue

CATALOGUE = load_catalogue(
    catalogue(
        {"embed": ["one", "two"], "chat": ["m-chat"]},
        models={
            "one": {
                "embedding": {
                    "dimensions": 256,
                    "space": "same",
                    "max_inputs": 100,
                    "max_batch_tokens": 5_000,
                }
            },
            "two": {
                "embedding": {
                    "dimensions": 256,
                    "space": "same",
                    "max_inputs": 300,
                    "max_batch_tokens": 2_000,
                }
            },
        },
    ),
    source="test",
    env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
)
BOTH: tuple[Parameter, ...] = ("encoding_format", "dimensions")
HOUR_S = 3_600.0


def failure(kind: FailureKind, text: str) -> ProviderFailure:
    return ProviderFailure(kind, text)


def test_h2_a_batch_fits_every_model_of_the_chain_and_the_size_of_an_answer():
    learned = LearnedLimits(CATALOGUE)
    assert learned.batch_size(["one"], 256, 0.0) == BatchSize(100, 5_000)
    assert learned.batch_size(["one", "two"], 256, 0.0) == BatchSize(100, 2_000)
    assert learned.batch_size(["two"], 2**15, 0.0).inputs == 64
    assert learned.batch_size(["two"], 2**24, 0.0).inputs == 1


def test_h2_a_refused_size_is_halved_for_an_hour():
    learned = LearnedLimits(CATALOGUE)
    learned.learn_size("two", BatchSize(80, 1_000), now_s=10.0)
    assert learned.batch_size(["two"], 256, 11.0) == BatchSize(40, 500)
    assert learned.batch_size(["one", "two"], 256, 11.0) == BatchSize(40, 500)
    assert learned.batch_size(["one"], 256, 11.0) == BatchSize(100, 5_000)
    learned.learn_size("two", BatchSize(1, 1), now_s=20.0)
    assert learned.batch_size(["two"], 256, 21.0) == BatchSize(1, 1)
    assert learned.batch_size(["two"], 256, 20.0 + HOUR_S) == BatchSize(300, 2_000)


def test_h2_a_single_text_that_is_too_large_teaches_nothing_of_batches():
    learned = LearnedLimits(CATALOGUE)
    sizes = RefusedSizes(learned)
    sizes.refused("two", BatchSize(4, 1_000), "abcd")
    sizes.refused("two", BatchSize(2, 900), "ab")
    sizes.accepted("cd", 1.0)
    sizes.accepted("a", 1.0)
    assert learned.batch_size(["two"], 256, 2.0) == BatchSize(300, 2_000)


def test_h2_the_smallest_size_is_learned_whose_texts_are_accepted_in_parts():
    learned = LearnedLimits(CATALOGUE)
    sizes = RefusedSizes(learned)
    sizes.refused("two", BatchSize(8, 1_600), "abcdefgh")
    sizes.refused("two", BatchSize(4, 800), "abcd")
    sizes.accepted("ab", 1.0)
    sizes.accepted("cd", 1.0)
    assert learned.batch_size(["two"], 256, 2.0) == BatchSize(2, 400)
    sizes.accepted("efgh", 3.0)
    assert learned.batch_size(["two"], 256, 4.0) == BatchSize(2, 400)


def test_h2_a_learned_size_never_exceeds_the_configured_one():
    learned = LearnedLimits(CATALOGUE)
    learned.learn_size("one", BatchSize(10_000, 100_000), now_s=0.0)
    assert learned.batch_size(["one"], 256, 1.0) == BatchSize(100, 5_000)


@pytest.mark.parametrize("kind", ["parameter", "refused", "unclear"])
@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("Unknown field encoding_format", "encoding_format"),
        ("only float is supported, not BASE64", "encoding_format"),
        ("this model has fixed dimensions", "dimensions"),
    ],
)
def test_h2_a_refused_parameter_is_left_out_for_an_hour(kind: FailureKind, text: str, parameter: Parameter):
    learned = LearnedLimits(CATALOGUE)
    assert learned.learn_parameter("one", failure(kind, text), BOTH, now_s=5.0)
    assert learned.leaves_out("one", parameter, 6.0)
    assert not learned.leaves_out("two", parameter, 6.0)
    assert [each for each in BOTH if learned.leaves_out("one", each, 6.0)] == [parameter]
    assert not learned.leaves_out("one", parameter, 5.0 + HOUR_S)


@pytest.mark.parametrize(
    ("kind", "text", "sent"),
    [
        ("rate_limited", "encoding_format", BOTH),
        ("refused", "the text is too long", BOTH),
        ("refused", "unknown encoding_format", ("dimensions",)),
        ("refused", "unknown encoding_format", ()),
    ],
)
def test_h2_any_other_failure_is_none_of_a_parameter(
    kind: FailureKind, text: str, sent: tuple[Parameter, ...]
):
    learned = LearnedLimits(CATALOGUE)
    assert not learned.learn_parameter("one", failure(kind, text), sent, now_s=0.0)
    assert not any(learned.leaves_out("one", each, 1.0) for each in BOTH)


def test_h2_parameters_of_one_model_are_learned_apart():
    learned = LearnedLimits(CATALOGUE)
    learned.learn_floats("one", now_s=0.0)
    learned.learn_parameter("one", failure("refused", "dimensions"), BOTH, now_s=100.0)
    assert not learned.leaves_out("one", "encoding_format", HOUR_S)
    assert learned.leaves_out("one", "dimensions", HOUR_S)
