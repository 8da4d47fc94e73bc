"""What to do where a catalogue has no section `retrieval`."""

from __future__ import annotations

__all__ = ["retrieval_missing"]


def retrieval_missing(what: str, catalogue: str) -> str:
    """Why `what` is not served: the catalogue of this name has no section `retrieval`."""
    return (
        f"{what}: the catalogue {catalogue} has no section retrieval; add `retrieval: {{}}` and a model with a "
        "section embedding, and start an indexer (`penstock up` does)"
    )
