"""The features of a body, by the kind of its request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw

from penstock.contract.names import Kind
from services.router.routing.body_errors import check_utf8
from services.router.routing.embedding import EmbedFeatures, extract_embed_features
from services.router.routing.features import Features, extract_features
from services.router.routing.indexing import IndexFeatures, extract_index_features

__all__ = ["BodyFeatures", "extract_body_features", "extract_stored_features"]

BodyFeatures = Features | EmbedFeatures | IndexFeatures
"""Those of a chat, an embeddings and an index body."""
_EXTRACT: Final[Mapping[Kind, Callable[[Raw | bytes | bytearray], BodyFeatures]]] = {
    "chat": extract_features,
    "embed": extract_embed_features,
    "index": extract_index_features,
}


def extract_body_features(kind: Kind, body: Raw | bytes | bytearray) -> BodyFeatures:
    """Raises InvalidBody."""
    return _EXTRACT[kind](body)


def extract_stored_features(kind: Kind, body: bytes | bytearray) -> BodyFeatures:
    """As `extract_body_features`, of a body that was not part of the request event. Raises InvalidRequest."""
    check_utf8(body)
    return extract_body_features(kind, body)
