"""The labelled texts of tests/data/guard that the classifiers are trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["LabelledText", "digest_of", "read_texts"]


class LabelledText(Struct, frozen=True):
    text: str
    label: str
    kind: str = ""
    language: str = ""


def read_texts(directory: Path, prefix: str) -> list[LabelledText]:
    """The lines of each `<prefix>*_<language>.jsonl`, in the order of the files' names."""
    lines = msgspec.json.Decoder(LabelledText)
    return [
        msgspec.structs.replace(text, language=path.stem.rpartition("_")[2])
        for path in sorted(directory.glob(f"{prefix}*_??.jsonl"))
        for text in lines.decode_lines(path.read_bytes())
    ]


def digest_of(texts: Sequence[LabelledText]) -> str:
    """Changes with each text, label and their order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(msgspec.json.encode(text))
    return found.hexdigest()
