"""The labelled texts of tests/data/guard that the classifiers are trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

__all__ = ["LabelledText", "decoded_texts", "digest_of", "ngram_texts", "read_texts", "split"]


LEFT_OUT: Final = 5
"""One text in five is left out of training, to choose the threshold."""


class LabelledText(Struct, frozen=True):
    text: str
    label: str
    kind: str = ""
    language: str = ""


def read_texts(directory: Path, prefix: str) -> list[LabelledText]:
    """The lines of each `<prefix>*_<language>.jsonl`, in the order of the files' names."""
    return [
        msgspec.structs.replace(text, language=path.stem.rpartition("_")[2])
        for path in sorted(directory.glob(f"{prefix}*_??.jsonl"))
        for text in decoded_texts(path)
    ]


def decoded_texts(path: Path) -> list[LabelledText]:
    """The lines of one file."""
    return msgspec.json.Decoder(LabelledText).decode_lines(path.read_bytes())


def digest_of(texts: Sequence[LabelledText]) -> str:
    """Changes with each text, label and their order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(msgspec.json.encode(text))
    return found.hexdigest()


def split(texts: Sequence[LabelledText]) -> tuple[list[LabelledText], list[LabelledText]]:
    """The texts to train on, and those that are left out."""
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    left_out = order[::LEFT_OUT]
    return [texts[i] for i in sorted(set(order) - set(left_out))], [texts[i] for i in left_out]


def ngram_texts(directory: Path) -> list[LabelledText]:
    """What the n-grams are trained on. Nothing of `parallel*` is left out: most of its texts have counterparts in other
    languages.
    """
    return split(read_texts(directory, "train"))[0] + read_texts(directory, "parallel")
