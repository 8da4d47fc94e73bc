"""Train each classifier on the texts of a directory, and write its weights into the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from services.guard.classifier.encoder import Encoder, Vectors
from services.guard.classifier.training.logistic import fit_logistic
from services.guard.classifier.training.texts import LabelledText, digest_of, read_texts

__all__: list[str] = []

WEIGHTS: Final = Path(__file__).parents[1] / "weights"
LABELS: Final = {"topics": ("chat", "coding", "logic"), "injection": ("harmless", "injection")}
FILES: Final = {"topics": "routes", "injection": "train"}
L2: Final = {"topics": 0.3, "injection": 0.1}


def _main(directory: Path) -> None:
    encoder = Encoder()
    for name, labels in LABELS.items():
        texts = read_texts(directory, FILES[name])
        rows = _encoded(encoder, texts)
        numbers = np.array([labels.index(text.label) for text in texts])
        weights = fit_logistic(rows, numbers, L2[name])
        np.savez(
            WEIGHTS / f"{name}.npz",
            weights=weights,
            labels=np.array(labels),
            digest=np.array(digest_of(texts)),
        )


def _encoded(encoder: Encoder, texts: Sequence[LabelledText]) -> Vectors:
    return np.vstack(
        [encoder.encode([text.text for text in texts[i : i + 64]]) for i in range(0, len(texts), 64)]
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
