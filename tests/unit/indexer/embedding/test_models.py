"""Which vectors a request asks for, and how they are requested."""

from __future__ import annotations

import pytest

from penstock.contract.retrieval.collections import Generation
from services.indexer.collections.transitions import VectorKind
from services.indexer.embedding.gateway import EmbeddingFailed, Route
from services.indexer.embedding.models import EmbeddingModels, UnusableModel
from tests.harness.indexer.local_indexer import CATALOGUE

MODELS = EmbeddingModels(CATALOGUE)
SMALL = Generation(number=1, model="small", space="small", dimensions=64)
LARGE = Generation(number=2, model="large", space="large", dimensions=96)


def test_h5_the_role_embed_decides_where_nothing_is_named():
    assert MODELS.kind("", None, None) == VectorKind("small", "small", 64)
    assert MODELS.kind("", None, LARGE) == VectorKind("large", "large", 96)
    assert MODELS.kind("", 32, None) == VectorKind("small", "small", 32)
    assert MODELS.kind("large", None, SMALL) == VectorKind("large", "large", 96)
    with pytest.raises(UnusableModel, match=r"no embedding model .fast.*small"):
        MODELS.kind("fast", None, None)


def test_h5_the_role_is_asked_where_its_chain_has_the_space_else_the_model():
    assert MODELS.route(SMALL) == Route(role="embed")
    assert MODELS.route(Generation(number=1, model="small", space="small", dimensions=16)) == Route(
        role="embed", dimensions=16
    )
    assert MODELS.route(LARGE) == Route(model="large")
    with pytest.raises(
        EmbeddingFailed, match=r"no model of the catalogue .* \(gone, 8 dimensions\)"
    ) as failed:
        MODELS.route(Generation(number=1, model="gone", space="gone", dimensions=8))
    assert failed.value.code == "retrieval_unavailable"
