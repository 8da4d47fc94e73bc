"""The part `retrieval` of the benchmark: embeddings, indexing, the store, and the quality of searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.retrieval.embeddings import embedding_figures, embedding_targets
from tests.bench.retrieval.indexing import indexing_figures, indexing_targets
from tests.bench.retrieval.quality import retrieval_quality_figures, retrieval_quality_targets
from tests.bench.retrieval.store import retrieval_store_figures, retrieval_store_targets
from tests.bench.targets import Target

__all__ = ["retrieval_figures", "retrieval_targets"]


async def retrieval_figures(directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    for name in ("embeddings", "indexing", "store", "quality"):
        (directory / name).mkdir()
    return {
        **await embedding_figures(directory / "embeddings", env),
        **await indexing_figures(directory / "indexing"),
        **await retrieval_store_figures(directory / "store"),
        **retrieval_quality_figures(directory / "quality"),
    }


def retrieval_targets(report: dict[str, Any]) -> list[Target]:
    return [
        *embedding_targets(report),
        *indexing_targets(report),
        *retrieval_store_targets(report),
        *retrieval_quality_targets(report),
    ]
