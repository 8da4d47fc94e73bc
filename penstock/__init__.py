"""Everything that an application uses: `from penstock import Client`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from penstock.bus.auth import NatsAuth
    from penstock.client.client import Client
    from penstock.client.embedding import Embeddings
    from penstock.client.reply import Reply
    from penstock.client.retrieval import index_report
    from penstock.contract.guard.places import ContentPlace, LeftOut
    from penstock.contract.jobs import Job
    from penstock.contract.reply import (
        Accepted,
        Completed,
        Delta,
        Failed,
        IndexProgress,
        ReplyEvent,
        Restarted,
        Started,
        Usage,
    )
    from penstock.contract.retrieval.documents import Document, IndexReport
    from penstock.contract.retrieval.search import Citation, Passage, Rag, RecalledTurns, SearchAnswer
    from penstock.errors import (
        BeyondTheEnd,
        BrokerRefused,
        BrokerUnreachable,
        ClientClosed,
        IdTaken,
        NoReply,
        NotAccepted,
        PenstockError,
        ReplyIncomplete,
        RequestFailed,
        RequestTooLarge,
        ResultGone,
        RetrievalFailed,
        RetrievalUnavailable,
        StoreUnavailable,
        UnknownCollection,
        UnknownJob,
        UnknownReply,
    )

__all__ = [
    "Accepted",
    "BeyondTheEnd",
    "BrokerRefused",
    "BrokerUnreachable",
    "Citation",
    "Client",
    "ClientClosed",
    "Completed",
    "ContentPlace",
    "Delta",
    "Document",
    "Embeddings",
    "Failed",
    "IdTaken",
    "IndexProgress",
    "IndexReport",
    "Job",
    "LeftOut",
    "NatsAuth",
    "NoReply",
    "NotAccepted",
    "Passage",
    "PenstockError",
    "Rag",
    "RecalledTurns",
    "Reply",
    "ReplyEvent",
    "ReplyIncomplete",
    "RequestFailed",
    "RequestTooLarge",
    "Restarted",
    "ResultGone",
    "RetrievalFailed",
    "RetrievalUnavailable",
    "SearchAnswer",
    "Started",
    "StoreUnavailable",
    "UnknownCollection",
    "UnknownJob",
    "UnknownReply",
    "Usage",
    "index_report",
]

_MODULES: Final = {
    "Client": "penstock.client.client",
    "NatsAuth": "penstock.bus.auth",
    "Job": "penstock.contract.jobs",
    "Embeddings": "penstock.client.embedding",
    "Reply": "penstock.client.reply",
    "index_report": "penstock.client.retrieval",
    **dict.fromkeys(
        (
            "Accepted",
            "Completed",
            "Delta",
            "Failed",
            "IndexProgress",
            "ReplyEvent",
            "Restarted",
            "Started",
            "Usage",
        ),
        "penstock.contract.reply",
    ),
    **dict.fromkeys(("ContentPlace", "LeftOut"), "penstock.contract.guard.places"),
    **dict.fromkeys(("Document", "IndexReport"), "penstock.contract.retrieval.documents"),
    **dict.fromkeys(
        ("Citation", "Passage", "Rag", "RecalledTurns", "SearchAnswer"), "penstock.contract.retrieval.search"
    ),
}
"""The modules of the exported names; every other name comes from `penstock.errors`."""


def __getattr__(name: str) -> Any:
    """Import on first use: a service that imports one module of this package does not load the client."""
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, "penstock.errors")), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
