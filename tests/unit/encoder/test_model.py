"""The vectors of the local model: of length one, and without the direction that all texts share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from penstock.runtime.config.retrieval import Memory
from services.encoder.model import Model, finished
from services.encoder.pieces import pieces

ROOT = Path(__file__).parents[3]
STORED = ROOT / "services/encoder/common_direction.npy"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.mark.prove
def test_h2_the_stored_direction_is_half_of_the_mean_of_600_prompts(model: Model):
    texts = []
    for language in ("en", "ru", "tr"):
        lines = (ROOT / f"tests/data/guard/train_{language}.jsonl").read_text().splitlines()[:200]
        texts += [pieces(json.loads(line)["text"])[0] for line in lines]
    vectors = np.concatenate([model.encode(texts[at : at + 50]) for at in range(0, len(texts), 50)])
    assert np.allclose(vectors.mean(axis=0) / 2, np.load(STORED), atol=1e-3)


def test_h2_the_same_in_three_languages_is_more_similar_than_anything_else(model: Model):
    texts = [
        "How do I bake bread?",
        "Как испечь хлеб?",
        "Ekmek nasıl pişirilir?",
        "The database has too many connections.",
    ]
    vectors = finished(model.encode(texts))
    similar = vectors @ vectors.T
    assert np.allclose(np.diag(similar), 1, atol=1e-5)
    assert similar[0, 1:3].min() > 0.6
    assert similar[3, :3].max() < 0.2


def test_h2_fewer_dimensions_are_the_first_ones_at_length_one(model: Model):
    means = model.encode(["How do I bake bread?"])
    whole, part = finished(means)[0], finished(means, 128)[0]
    assert part.shape == (128,)
    assert np.isclose(np.linalg.norm(part), 1)
    assert np.allclose(part, whole[:128] / np.linalg.norm(whole[:128]), atol=1e-5)


def test_h2_a_text_without_words_has_a_vector(model: Model):
    assert np.isclose(np.linalg.norm(finished(model.encode([""]))[0]), 1)


@pytest.mark.parametrize(
    ("question", "recalled"),
    [
        ("When do I travel to Izmir?", "Question: I travel to Izmir in May.\n\nAnswer: Have a good trip!"),
        ("Where do I go in May?", "Question: I travel to Izmir in May.\n\nAnswer: Have a good trip!"),
        ("What is my dog called?", "Question: My dog is called Rex.\n\nAnswer: A fine name."),
    ],
)
def test_m7_the_least_similarity_of_memory_recalls_what_fits_and_nothing_else(
    model: Model, question: str, recalled: str
) -> None:
    others = ("Question: Why is the sky blue?\n\nAnswer: Rayleigh scattering.", "Question: Solve 3x+4=10.")
    asked, fits, *rest = finished(model.encode([question, recalled, *others]))
    assert float(asked @ fits) >= Memory().min_score
    assert all(float(asked @ each) < Memory().min_score for each in rest)
