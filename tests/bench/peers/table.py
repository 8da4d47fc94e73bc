"""The gateways side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.bench.targets import text_table

__all__ = ["BARE", "compared", "peer_table"]

BARE: Final = "openai SDK, no gateway"


def compared(measured: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of a round, each with the CPU of gateway and client divided by that of the bare SDK call."""
    bare_ms = measured[BARE]["client_cpu_ms"]
    return {
        name: {**each, "ratio": (each["gateway_cpu_ms"] + each["client_cpu_ms"]) / bare_ms}
        for name, each in measured.items()
    }


def peer_table(found: Mapping[str, dict[str, Any]]) -> str:
    """CPU is that of one request. `ratio`: of gateway and client to the bare SDK call. Without a gateway, nothing is
    shown for its CPU and its memory.
    """
    at_once = tuple(found[BARE]["gateway_cpu_ms_at"])
    head = (
        "gateway",
        *(f"CPU ms at {at}" for at in at_once),
        "client's CPU ms",
        "ratio",
        "p50 ms at 1",
        "per s at 64",
        "MB",
    )
    rows = [
        (
            name,
            *(_of_gateway(each["gateway_cpu_ms_at"][at], ".2f") for at in at_once),
            f"{each['client_cpu_ms']:.2f}",
            f"{each['ratio']:.2f}",
            f"{each['p50_ms']['1']:.2f}",
            f"{each['requests_per_s']:.0f}",
            _of_gateway(each["rss_mb"], ".0f"),
        )
        for name, each in found.items()
    ]
    return text_table(head, rows)


def _of_gateway(figure: float, form: str) -> str:
    return f"{figure:{form}}" if figure else ""
