"""The labelled texts of tests/data/guard/test_injection.jsonl, and the quality of the model on them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from services.guard.classifier.encoder import Encoder
from services.guard.classifier.training.evaluation import Quality, quality
from services.guard.classifier.training.texts import LabelledText, decoded_texts
from services.guard.injection.model import InjectionModel

__all__ = ["labelled_attacks", "quality_of_injection"]

_FILE: Final = Path(__file__).parents[2] / "data/guard/test_injection.jsonl"


def labelled_attacks() -> list[LabelledText]:
    return decoded_texts(_FILE)


def quality_of_injection(encoder: Encoder) -> dict[str, Quality]:
    """By language, at the threshold of the package. All texts are shorter than two windows."""
    texts = labelled_attacks()
    model = InjectionModel(encoder)
    rates = np.vstack(
        [model.rate([text.text for text in texts[i : i + 16]]) for i in range(0, len(texts), 16)]
    )
    attacks = np.array([text.label == "injection" for text in texts])
    return quality(rates[:, 0], attacks, [text.language for text in texts], model.threshold)
