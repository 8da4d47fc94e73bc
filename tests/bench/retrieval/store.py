"""The embedded store of the indexer: the time and recall of a search among 50,000 chunks, and the memory of a reader.

    python -m tests.bench.retrieval.store DIRECTORY

is the reader: a process of its own, which opens the store of a directory and answers the questions beside it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
import psutil

from services.indexer.store.interface import Chunk, Document, DocumentChunks, EmbeddedChunk, Question, Store
from services.indexer.store.opening import open_store
from services.indexer.store.tables import table_name
from tests.bench.targets import Target

__all__ = ["retrieval_store_figures", "retrieval_store_targets"]

_CHUNKS: Final = 50_000
_PER_DOCUMENT: Final = 20
_DOCUMENTS_AT_ONCE: Final = 50
_DIMENSIONS: Final = 1_024
_CLUSTERS: Final = 200
_SPREAD: Final = 0.6
"""Of the vectors around the centre of their cluster, as a share of the spread of the centres: their cosine with each
other is 0.73 on average, and all 250 of a cluster are nearly at the same distance, which is hard for an index.
"""
_QUESTIONS: Final = 200
_FIRST_QUESTIONS: Final = 20
"""Not counted: they fill the caches of a new process."""
_LIMIT: Final = 10
_TABLE: Final = table_name("bench", "retrieval", 1)
_QUESTION_FILE: Final = "questions.npy"


class _Read(msgspec.Struct, frozen=True):
    times_ms: list[float]
    found: list[list[int]]
    rss_mb: float


async def retrieval_store_figures(directory: Path) -> dict[str, Any]:
    """`search_p50_ms`: a search by vector. `search_recall_at_10`: of what comparing all vectors finds.
    `indexer_rss_mb`: of the process that searches, after all questions.
    """
    vectors, questions = _vectors()
    store = await open_store(str(directory))
    await _fill(store, vectors)
    await store.close()
    np.save(directory / _QUESTION_FILE, questions)
    nearest = [set(np.argsort(-(vectors @ question))[:_LIMIT].tolist()) for question in questions]
    read = await _in_own_process(directory)
    shares = [len(wanted.intersection(got)) / _LIMIT for wanted, got in zip(nearest, read.found, strict=True)]
    return {
        "search_p50_ms": round(median(read.times_ms[_FIRST_QUESTIONS:]), 2),
        "search_recall_at_10": round(sum(shares) / len(shares), 4),
        "indexer_rss_mb": round(read.rss_mb, 1),
    }


def retrieval_store_targets(report: dict[str, Any]) -> list[Target]:
    return [
        Target("p50 ms of a search among 50,000 chunks", report["search_p50_ms"], 30.0),
        Target(
            "share of the 10 nearest chunks that a search misses", 1 - report["search_recall_at_10"], 0.03
        ),
        Target("MB of a process that searches 50,000 chunks", report["indexer_rss_mb"], 400.0),
    ]


def _vectors() -> tuple[np.ndarray, np.ndarray]:
    """Of the chunks, and of questions that each lie near a chunk. All have the length one."""
    dice = np.random.default_rng(5)
    centres = dice.standard_normal((_CLUSTERS, _DIMENSIONS), dtype=np.float32)
    vectors = centres[dice.integers(0, _CLUSTERS, _CHUNKS)]
    vectors += _SPREAD * dice.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = dice.standard_normal((_QUESTIONS, _DIMENSIONS), dtype=np.float32)
    questions = vectors[dice.integers(0, _CHUNKS, _QUESTIONS)] + noise * (0.3 / _DIMENSIONS**0.5)
    return vectors, questions / np.linalg.norm(questions, axis=1, keepdims=True)


async def _fill(store: Store, vectors: np.ndarray) -> None:
    await store.create(_TABLE, _DIMENSIONS)
    dice = random.Random(5)
    words = [f"word{number}" for number in range(5_000)]
    documents = range(_CHUNKS // _PER_DOCUMENT)
    for begin in documents[::_DOCUMENTS_AT_ONCE]:
        part = documents[begin : begin + _DOCUMENTS_AT_ONCE]
        await store.replace(
            _TABLE, 1, [_document(number, vectors, dice.choices(words, k=100)) for number in part]
        )
    await store.optimize(_TABLE)


def _document(number: int, vectors: np.ndarray, words: list[str]) -> DocumentChunks:
    first = number * _PER_DOCUMENT
    text = " ".join(words)
    return DocumentChunks(
        Document(id=f"document {number}", digest=str(number)),
        tuple(
            EmbeddedChunk(
                Chunk(
                    id=f"{first + ordinal:032x}", ordinal=ordinal, text=text, terms=text, tokens=len(words)
                ),
                vectors[first + ordinal].tobytes(),
            )
            for ordinal in range(_PER_DOCUMENT)
        ),
    )


async def _in_own_process(directory: Path) -> _Read:
    command = (sys.executable, "-m", "tests.bench.retrieval.store", str(directory))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    output, _ = await process.communicate()
    return msgspec.json.decode(output, type=_Read)


async def _read(directory: Path) -> _Read:
    store = await open_store(str(directory))
    times_ms: list[float] = []
    found: list[list[int]] = []
    for question in np.load(directory / _QUESTION_FILE):
        asked = Question(question.astype("<f4").tobytes(), _LIMIT)
        began_s = time.perf_counter()
        hits = await store.search_vector(_TABLE, asked)
        times_ms.append((time.perf_counter() - began_s) * 1000)
        found.append([int(hit.chunk.id, 16) for hit in hits])
        await store.search_text(_TABLE, ["word1", "word77", "word300"], asked)
    rss_mb = psutil.Process().memory_info().rss / 1e6
    await store.close()
    return _Read(times_ms, found, rss_mb)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_read(Path(sys.argv[1])))))
