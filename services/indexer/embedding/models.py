"""The embedding models of the catalogue: what a collection may use, and how a request reaches them."""

from __future__ import annotations

from penstock.contract.names import EMBED
from penstock.contract.retrieval.collections import Generation
from penstock.runtime.config.catalogue import Catalogue
from services.indexer.collections.transitions import VectorKind
from services.indexer.embedding.gateway import EmbeddingFailed, Route

__all__ = ["EmbeddingModels", "UnusableModel"]


class UnusableModel(ValueError):
    """The message says which models there are, or what is wrong with the dimensions."""


class EmbeddingModels:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known = {
            key: model.embedding for key, model in catalogue.models.items() if model.embedding is not None
        }

    def kind(self, model: str, dimensions: int | None, current: Generation | None) -> VectorKind:
        """What an index request asks for; an empty model and None stand for what the collection has, or for the
        configured model. Raises UnusableModel.
        """
        if not model and current is not None:
            if dimensions is None or dimensions == current.dimensions:
                return VectorKind(current.model, current.space, current.dimensions)
            model = current.model
        retrieval = self._catalogue.retrieval
        key = model or self._configured()
        if not model and retrieval is not None and dimensions is None:
            dimensions = retrieval.dimensions
        known = self._known.get(key)
        if known is None:
            there = ", ".join(self._known) or "none"
            raise UnusableModel(f"the catalogue has no embedding model {key!r:.80}; there are: {there}")
        wanted = known.dimensions if dimensions is None else dimensions
        if wanted != known.dimensions and not (known.shortens and 0 < wanted < known.dimensions):
            can = f"up to {known.dimensions}" if known.shortens else f"{known.dimensions}"
            raise UnusableModel(f"the model {key} has vectors of {can} dimensions, not of {wanted}")
        return VectorKind(key, self._catalogue.vector_space(key), wanted)

    def route(self, generation: Generation) -> Route:
        """Raises EmbeddingFailed where the catalogue has no model any more that makes such vectors.

        The role is preferred to the model: all models of its chain make the same vectors, and the next one answers
        where the first cannot.
        """
        role = self._catalogue.roles.get(EMBED)
        chain = () if role is None else role.chain
        for key in (*chain, generation.model, *self._known):
            known = self._known.get(key)
            if known is None or self._catalogue.vector_space(key) != generation.space:
                continue
            if generation.dimensions == known.dimensions:
                dimensions = None
            elif known.shortens and generation.dimensions < known.dimensions:
                dimensions = generation.dimensions
            else:
                continue
            return (
                Route(role=EMBED, dimensions=dimensions)
                if key in chain
                else Route(model=key, dimensions=dimensions)
            )
        raise EmbeddingFailed(
            "retrieval_unavailable",
            f"no model of the catalogue makes the vectors of this collection ({generation.model}, "
            f"{generation.dimensions} dimensions): name another model in an index request",
        )

    def _configured(self) -> str:
        retrieval = self._catalogue.retrieval
        if retrieval is not None and retrieval.embedding_model is not None:
            return retrieval.embedding_model
        role = self._catalogue.roles.get(EMBED)
        if role is None:
            raise UnusableModel(
                f"no embedding model is configured: write retrieval.embedding_model or the role {EMBED}"
            )
        return role.chain[0]
