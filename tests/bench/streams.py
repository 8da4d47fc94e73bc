"""One more token of a stream: the difference between long and short streams, through Penstock and from the SDK."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tests.bench.busy import MachineTooBusy
from tests.bench.cpu import cpu_s, own_cpu_s, spent_ms
from tests.bench.load import LONG, SHORT, STREAMS, Ask, run
from tests.bench.requests import OURS, bare_client
from tests.bench.subjects import direct_stream, penstock_stream
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system

__all__ = ["stream_figures", "stream_targets"]


async def stream_figures(directory: Path, traces: Mapping[str, str]) -> dict[str, Any]:
    """`cpu_us_per_delta`: at full speed, where deltas that arrive together are gathered in a message. At 100 tokens/s
    each delta is a message.
    """
    config = catalogue({"chat": ["m-chat"]}, roles={"chat": {"slots_per_worker": 256}})
    async with (
        running_system(directory, "chat", config=config, env=traces, fresh=True) as system,
        await system.client() as client,
        bare_client(system) as sdk,
    ):

        def used() -> dict[str, float]:
            return cpu_s(system)

        def ask(tokens: int) -> Ask:
            return penstock_stream(client, tokens)

        gathered = await _per_delta_us(ask, used)
        bare_us = await _bare_us(sdk)
        await system.sim("PUT", "speed", {"tokens_per_second": 100, "first_token_ms": 0, "latency_ms": 0})
        alone = await _per_delta_us(ask, used, streams=64)
    return {
        "cpu_us_per_delta": _ours(gathered),
        "cpu_us_by_process_per_delta": gathered,
        "cpu_us_per_delta_at_100_tokens_per_s": _ours(alone),
        "direct_cpu_us_per_delta": bare_us,
    }


async def _bare_us(sdk: AsyncOpenAI) -> float | None:
    """None where it timed out: no target needs it."""
    try:
        bare = await _per_delta_us(lambda tokens: direct_stream(sdk, tokens), lambda: {"client": own_cpu_s()})
    except MachineTooBusy as error:
        print(f"streams: {error}; measured without it", file=sys.stderr)
        return None
    return bare["client"]


async def _per_delta_us(
    ask: Callable[[int], Ask], used: Callable[[], dict[str, float]], streams: int = STREAMS
) -> dict[str, float]:
    """CPU of each process in microseconds."""
    spent = {}
    for tokens in (SHORT, LONG):
        await run(ask(tokens), at_once=16, total=16)
        before = used()
        await run(ask(tokens), at_once=min(64, streams), total=streams)
        spent[tokens] = spent_ms(before, used(), streams)
    return {
        name: round((spent[LONG][name] - spent[SHORT][name]) * 1000 / (LONG - SHORT), 2)
        for name in spent[LONG]
    }


def _ours(by_process: dict[str, float]) -> float:
    return round(sum(by_process[name] for name in OURS), 2)


def stream_targets(report: dict[str, Any]) -> list[Target]:
    return [
        Target("CPU us of a delta that is gathered with others", report["cpu_us_per_delta"], 6.0),
        Target(
            "CPU us of a delta that is a message of its own",
            report["cpu_us_per_delta_at_100_tokens_per_s"],
            40.0,
        ),
    ]
