"""The message by which a process has the spans of some traces exported everywhere, although they were not sampled."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

__all__ = ["MAX_KEPT_TRACES", "TRACES_KEPT", "TracesKept"]

TRACES_KEPT: Final = "llm.traces.kept"
MAX_KEPT_TRACES: Final = 100
"""Traces that one message names, and that one process chooses in a second, at most."""


class TracesKept(Struct, frozen=True, kw_only=True, tag="traces_kept", tag_field="type"):
    """These traces have an error or are slow: every process exports the spans of them that it still has, and those that
    end later. Published at most once a second by each process.
    """

    trace_ids: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9a-f]{32}$")], ...],
        Meta(min_length=1, max_length=MAX_KEPT_TRACES),
    ]
    """W3C trace ids."""
    v: int = 1
