"""The model of prompt injection: training, and recall at few false alarms on texts that were left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct

from services.guard.classifier.encoder import Encoder
from services.guard.classifier.spelling import plain
from services.guard.classifier.training.network import Network, Settings, train
from services.guard.classifier.training.ngram_fit import fit_ngrams
from services.guard.classifier.training.texts import LabelledText, digest_of
from services.guard.classifier.training.variants import epochs_of
from services.guard.classifier.tuned import differences

__all__ = ["Trained", "stored_model", "stored_ngrams", "trained_model"]

MOST_CHARACTERS: Final = 1_000
"""Of a training text, for one that was put together from two."""


class Trained(Struct, frozen=True):
    kinds: tuple[str, ...]
    network: Network


def trained_model(encoder: Encoder, texts: Sequence[LabelledText], settings: Settings) -> Trained:
    """The same texts give the same model, on one machine and with one thread for matrices."""
    kinds = tuple(sorted({f"{text.label}/{text.kind}" for text in texts}))
    labels = np.array([kinds.index(f"{text.label}/{text.kind}") for text in texts])
    network = Network(encoder, len(kinds), settings.seed)
    epochs = epochs_of(texts, settings.epochs, settings.seed)
    train(network, ([plain(text[:MOST_CHARACTERS]) for text in epoch] for epoch in epochs), labels, settings)
    return Trained(kinds, network)


def stored_model(encoder: Encoder, model: Trained, texts: Sequence[LabelledText]) -> dict[str, Any]:
    """Of the encoder and its head, the arrays of the file of weights."""
    tuned = {name: node.value for name, node in model.network.weights.items()}
    return {
        **differences(encoder, tuned),
        "kinds": np.array(model.kinds),
        "head": tuned["head"].astype(np.float16),
        "constants": tuned["constants"],
        "digest": np.array(digest_of(texts)),
    }


def stored_ngrams(texts: Sequence[LabelledText]) -> dict[str, Any]:
    """Trains the n-grams: their arrays, with a share and a threshold until these are chosen."""
    attacks = np.array([text.label == "injection" for text in texts])
    score = fit_ngrams([text.text for text in texts], attacks)
    step = np.float32(np.abs(score.weights).max() / 127)
    return {
        "ngrams": np.rint(score.weights / step).astype(np.int8),
        "ngrams.step": np.array(step),
        "ngrams.constant": np.array(score.constant),
        "ngrams.digest": np.array(digest_of(texts)),
        "ngram_share": np.array(0.5),
        "threshold": np.array(0.9),
    }
