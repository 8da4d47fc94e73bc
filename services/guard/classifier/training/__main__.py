"""Train the classifiers on the texts of a directory, and write their weights into the package.

`python -m services.guard.classifier.training tests/data/guard [topics|injection|ngrams]`. A fifth of the texts on
injection is left out of training; the threshold is chosen on them. `ngrams` trains the n-grams of `injection` anew and
chooses the threshold, and leaves its encoder as it is. One thread for matrices (`OPENBLAS_NUM_THREADS=1`) is fastest.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.guard.classifier.encoder import Encoder, Vectors
from services.guard.classifier.training.evaluation import quality, threshold_for
from services.guard.classifier.training.injection import stored_model, stored_ngrams, trained_model
from services.guard.classifier.training.logistic import fit_with_ngrams
from services.guard.classifier.training.network import Settings
from services.guard.classifier.training.texts import (
    LabelledText,
    decoded_texts,
    digest_of,
    ngram_texts,
    read_texts,
    split,
)
from services.guard.injection.model import InjectionModel, probabilities, stored_weights

__all__: list[str] = []

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
TOPICS: Final = ("chat", "coding", "logic")
TOPICS_L2: Final = 0.3
INJECTION: Final = Settings()
SHARES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the n-grams beside the encoder; one is chosen with the threshold."""
EVERYDAY_CHARACTERS: Final = 40
"""The characters of a short everyday text, of which none may be an alarm."""


def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.guard.classifier.training")
    parser.add_argument("directory", type=Path)
    parser.add_argument("model", nargs="?", choices=("topics", "injection", "ngrams"))
    given = parser.parse_args(arguments)
    encoder = Encoder()
    if given.model in {None, "topics"}:
        _write("topics", _topics(encoder, read_texts(given.directory, "routes")))
    if given.model != "topics":
        stored = stored_weights() if given.model == "ngrams" else _tuned(encoder, given.directory)
        stored |= stored_ngrams(ngram_texts(given.directory))
        _write("injection", _with_threshold(encoder, stored, given.directory))


def _write(name: str, arrays: Mapping[str, Any]) -> None:
    """As `np.savez_compressed` does, but a tenth smaller: every installed client has these files."""
    with zipfile.ZipFile(WEIGHTS / f"{name}.npz", "w", zipfile.ZIP_LZMA) as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _tuned(encoder: Encoder, directory: Path) -> dict[str, Any]:
    texts, _ = split(read_texts(directory, "train"))
    return stored_model(encoder, trained_model(encoder, texts, INJECTION), texts)


def _topics(encoder: Encoder, texts: Sequence[LabelledText]) -> dict[str, Any]:
    labels = np.array([TOPICS.index(text.label) for text in texts])
    contents = [text.text for text in texts]
    weights, ngrams = fit_with_ngrams(_encoded(encoder, contents), contents, labels, TOPICS_L2)
    step = np.float32(np.abs(ngrams).max() / 127)
    return {
        "weights": weights,
        "ngrams": np.rint(ngrams / step).astype(np.int8),
        "ngrams.step": np.array(step),
        "labels": np.array(TOPICS),
        "digest": np.array(digest_of(texts)),
    }


def _encoded(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    return np.vstack([encoder.encode(texts[i : i + 64]) for i in range(0, len(texts), 64)])


def _with_threshold(encoder: Encoder, stored: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The weights with the share of n-grams and the threshold that find most of the texts that were left out of
    training, on average of the languages. Prints the figures for each share.
    """
    _, left_out = split(read_texts(directory, "train"))
    harmless = decoded_texts(directory / "everyday.jsonl") + read_texts(directory, "routes")
    everyday = _scores(encoder, stored, [text for text in harmless if len(text.text) <= EVERYDAY_CHARACTERS])
    scores = _scores(encoder, stored, left_out)
    attacks = np.array([text.label == "injection" for text in left_out])
    languages = [text.language for text in left_out]
    found = []
    for share in SHARES:
        rates = probabilities(scores, share)
        threshold = threshold_for(rates, attacks, languages, probabilities(everyday, share))
        by_language = quality(rates, attacks, languages, threshold)
        found.append((sum(each.recall for each in by_language.values()), share, threshold))
        figures = "  ".join(
            f"{language} {each.recall:.3f} ({each.false_alarms}/{each.harmless})"
            for language, each in by_language.items()
        )
        print(f"n-grams {share}: threshold {threshold:.4f}, recall (false alarms) {figures}")  # noqa: T201
    _, share, threshold = max(found)
    return {**stored, "ngram_share": np.array(share), "threshold": np.array(threshold)}


def _scores(encoder: Encoder, stored: dict[str, Any], texts: Sequence[LabelledText]) -> Vectors:
    model = InjectionModel(encoder, stored)
    return np.vstack([model.scores([text.text]) for text in texts])


if __name__ == "__main__":
    _main(sys.argv[1:])
