"""Asks the labelled questions with the local model, in a process of its own: the matrix library reads its number of
threads when it is imported, and with more than one its idle threads take the cores from other tests.

    python -m tests.harness.retrieval.measured whole DIRECTORY postgresql://...
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tests.harness.retrieval.labelled import (
    LabelledQuestion,
    cross_language_questions,
    documents,
    questions,
    small_documents,
)

__all__ = ["Corpus", "Measured", "measure"]

_ROOT: Final = Path(__file__).parents[3]

Corpus = Literal["texts", "whole"]
"""`texts`: without the pages of this repository, which are nine tenths of all, and without the questions about them."""
Encode = Callable[[Sequence[str]], Sequence[Any]]


class Measured(msgspec.Struct, frozen=True):
    asked: list[LabelledQuestion]
    answered: dict[str, list[bool]]
    """By method, for each question of `asked`: by the first five results."""
    cross_language: dict[str, list[bool]]
    """Of the questions in another language than their answer: by the first five results in the same corpus."""
    first_of_few: dict[str, list[bool]]
    """Of such questions to the twelve texts of the small corpus: by the first result."""
    chunks: int
    us_per_character: float
    """CPU of the model and of storing, for the whole corpus."""


def measure(corpus: Corpus, *stores: str) -> list[Measured]:
    """Of each store: a directory for LanceDB, or the address of a PostgreSQL database. The whole corpus takes 10 s of
    CPU, most of it for the vectors, which are made once.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, corpus, *stores],
        cwd=_ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[Measured])


async def _measured(chosen: str, location: str, encode: Encode) -> Measured:
    from services.indexer.store.opening import open_store
    from tests.harness.retrieval.stored import StoredCorpus

    store, texts, few = await open_store(location), documents(), small_documents()
    if chosen == "texts":
        texts = {name: text for name, text in texts.items() if not name.startswith("docs/")}
    asked = [each for each in questions() if each.document in texts]
    corpus = StoredCorpus(store, texts, encode)
    began_s = time.process_time()
    chunks = await corpus.fill()
    us_per_character = (time.process_time() - began_s) * 1e6 / sum(map(len, texts.values()))
    answered = await corpus.answered(asked)
    crossing = cross_language_questions()
    cross_language = await corpus.answered([each for each in crossing if each.document in texts])
    await corpus.drop()
    corpus = StoredCorpus(store, few, encode)
    await corpus.fill()
    first_of_few = await corpus.answered([each for each in crossing if each.document in few], places=1)
    await corpus.drop()
    await store.close()
    return Measured(
        asked=asked,
        answered=answered,
        cross_language=cross_language,
        first_of_few=first_of_few,
        chunks=chunks,
        us_per_character=round(us_per_character, 1),
    )


async def _main(corpus: str, *stores: str) -> None:
    from services.encoder.model import Model

    model, known = Model(), {}

    def encode(texts: Sequence[str]) -> list[Any]:
        missing = [text for text in texts if text not in known]
        known.update(zip(missing, model.encode(missing) if missing else (), strict=True))
        return [known[text] for text in texts]

    measured = [await _measured(corpus, location, encode) for location in stores]
    sys.stdout.buffer.write(msgspec.json.encode(measured))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
