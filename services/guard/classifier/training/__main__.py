"""Train the classifiers on the texts of a directory, and write their weights into the package.

`python -m services.guard.classifier.training tests/data/guard [topics|injection]`. A fifth of the texts on injection is
left out of training; with `--evaluate` the thresholds and the recall that it gives are printed, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.guard.classifier.encoder import Encoder, Vectors
from services.guard.classifier.training.evaluation import quality, threshold_for
from services.guard.classifier.training.injection import Chosen, stored_model, trained_model
from services.guard.classifier.training.logistic import fit_logistic
from services.guard.classifier.training.network import Settings
from services.guard.classifier.training.texts import LabelledText, digest_of, read_texts, split
from services.guard.injection.model import InjectionModel

__all__: list[str] = []

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
TOPICS: Final = ("chat", "coding", "logic")
TOPICS_L2: Final = 0.3
INJECTION: Final = Settings()
CHOSEN: Final = Chosen(ngram_share=0.4, threshold=0.865)
"""By `--evaluate`."""


def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.guard.classifier.training")
    parser.add_argument("directory", type=Path)
    parser.add_argument("model", nargs="?", choices=("topics", "injection"))
    parser.add_argument("--evaluate", action="store_true")
    given = parser.parse_args(arguments)
    encoder = Encoder()
    if given.evaluate:
        _evaluate(encoder, read_texts(given.directory, "train"))
        return
    if given.model != "injection":
        np.savez_compressed(WEIGHTS / "topics.npz", **_topics(encoder, read_texts(given.directory, "routes")))
    if given.model != "topics":
        texts, _ = split(read_texts(given.directory, "train"))
        model = trained_model(encoder, texts, INJECTION)
        np.savez_compressed(WEIGHTS / "injection.npz", **stored_model(encoder, model, CHOSEN, texts))


def _topics(encoder: Encoder, texts: Sequence[LabelledText]) -> dict[str, Any]:
    labels = np.array([TOPICS.index(text.label) for text in texts])
    weights = fit_logistic(_encoded(encoder, texts), labels, TOPICS_L2)
    return {"weights": weights, "labels": np.array(TOPICS), "digest": np.array(digest_of(texts))}


def _encoded(encoder: Encoder, texts: Sequence[LabelledText]) -> Vectors:
    return np.vstack(
        [encoder.encode([text.text for text in texts[i : i + 64]]) for i in range(0, len(texts), 64)]
    )


def _evaluate(encoder: Encoder, texts: Sequence[LabelledText]) -> None:
    kept, left_out = split(texts)
    trained = trained_model(encoder, kept, INJECTION)
    attacks = np.array([text.label == "injection" for text in left_out])
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        stored = stored_model(encoder, trained, Chosen(ngram_share=share, threshold=0.5), kept)
        model = InjectionModel(encoder, stored)
        rates = np.vstack([model.rate([text.text]) for text in left_out])[:, 0]
        threshold = threshold_for(rates, attacks)
        by_language = quality(rates, attacks, [text.language for text in left_out], threshold)
        figures = "  ".join(
            f"{language} {each.recall:.3f} ({each.false_alarms}/{each.harmless})"
            for language, each in by_language.items()
        )
        print(f"n-grams {share}: threshold {threshold:.4f}, recall (false alarms) {figures}")  # noqa: T201


if __name__ == "__main__":
    _main(sys.argv[1:])
