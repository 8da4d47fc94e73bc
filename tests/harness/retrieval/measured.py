"""Asks the labelled questions with the local model, in a process of its own: the matrix library reads its number of
threads when it is imported, and with more than one its idle threads take the cores from other tests.

    python -m tests.harness.retrieval.measured
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Measured", "measure"]

_ROOT: Final = Path(__file__).parents[3]


class Measured(msgspec.Struct, frozen=True):
    answered: dict[str, list[bool]]
    """By method, for each question in the order of `labelled.questions`."""
    chunks: int
    us_per_character: float
    """CPU of the model, for the whole corpus."""


def measure() -> Measured:
    """Takes 8 s of CPU."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        cwd=_ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Measured)


def _measured() -> Measured:
    from services.encoder.model import Model
    from tests.harness.retrieval.in_memory import InMemoryIndex, recall
    from tests.harness.retrieval.labelled import documents, questions

    model, texts = Model(), documents()
    began_s = time.process_time()
    index = InMemoryIndex(texts, model.encode)
    us_per_character = (time.process_time() - began_s) * 1e6 / sum(map(len, texts.values()))
    return Measured(recall(index, questions(), texts), len(index), round(us_per_character, 1))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_measured()))
