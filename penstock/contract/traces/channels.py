"""The channel of traces: how processes agree on which unsampled ones are exported."""

from __future__ import annotations

from typing import Final

from penstock.contract.channel import Channel
from penstock.contract.traces.kept import MAX_KEPT_TRACES, TRACES_KEPT, TracesKept

__all__ = ["TRACE_CHANNELS"]

_SERVICES: Final = ("router", "worker", "edge", "ledger", "guard", "indexer")

TRACE_CHANNELS: Final = (
    Channel(
        name="traces-kept",
        subject=TRACES_KEPT,
        messages=(TracesKept,),
        delivery="live",
        producers=_SERVICES,
        consumers=_SERVICES,
        limits=f"{MAX_KEPT_TRACES} traces per message, one message per second and process",
        purpose="Unsampled traces with an error or a slow span: every process exports the spans of them that it still "
        "has. A lost message costs the spans of other processes.",
    ),
)
