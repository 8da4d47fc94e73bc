"""The HTTP edge: the same load, from the same HTTP client, through the edge and at the simulator directly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.bench.cpu import cpu_s, spent_ms
from tests.bench.load import (
    AT_ONCE,
    LONG,
    REQUESTS,
    SHORT,
    STREAMS,
    Ask,
    Figures,
    latency,
    percentile,
    run,
    to_queueing_at_64,
)
from tests.bench.subjects import MODEL, PROMPT, streamed_prompt
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.stream_load import longest_gap_ms, stream_at_once

__all__ = ["edge_figures", "edge_targets"]

FIRST_TOKENS = {1: 300, 8: 600}
"""Streams in progress, and streams in all, for the time to the first token."""
PACED = {"tokens_per_second": 100, "first_token_ms": 0, "latency_ms": 0}
STALL_MS = 250
STALL_TOKENS = 100
STALL_SPEED = {"tokens_per_second": 50, "first_token_ms": 0, "latency_ms": 0}
FEWEST_STREAMS, MOST_STREAMS, STREAMS_STEP = 25, 500, 25
SEARCH_S = 60.0
FULL_SPEED = {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0}


async def edge_figures(directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    config = catalogue({"chat": [MODEL]}, roles={"chat": {"slots_per_worker": MOST_STREAMS}})
    async with (
        running_system(directory, "chat", config=config, env=env, fresh=True) as system,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        edge = system.new_edge()
        await edge.start()
        through = _Api(session, str(edge.ready["url"]), "chat")
        direct = _Api(session, str(system.simulator.ready["url"]), MODEL)
        found = await _whole(system, edge, through, direct)
        found["edge_cpu_us_per_delta"], found["edge_cpu_us_by_process_per_delta"] = await _per_delta(
            system, edge, through
        )
        await system.sim("PUT", "speed", PACED)
        found["edge_cpu_us_per_delta_at_100_tokens_per_s"], _ = await _per_delta(
            system, edge, through, streams=64
        )
        first = {at: await through.first_tokens_ms(at) for at in FIRST_TOKENS}
        bare = {at: await direct.first_tokens_ms(at) for at in FIRST_TOKENS}
        await system.sim("PUT", "speed", STALL_SPEED)
        found["stall_free_streams"] = await _stall_free_streams(str(edge.ready["url"]))
        await system.sim("PUT", "speed", FULL_SPEED)
        found["edge_first_token_p99_ms"] = {
            str(at): round(percentile(first[at], 0.99) - percentile(bare[at], 0.99), 3) for at in FIRST_TOKENS
        }
        found["edge_rss_mb"] = round(edge.rss_mb(), 1)
        return found


def edge_targets(report: dict[str, Any]) -> list[Target]:
    return [
        Target("edge: CPU ms per request", report["edge_cpu_ms_per_request"], 2.5),
        Target("edge: added p50 ms at 1", report["edge_added_p50_ms"]["1"], 4.0, added=True),
        Target("edge: p99 at 64 over what queueing explains", report["edge_p99_to_queueing_at_64"], 4.0),
        Target(
            "edge: added first-token p99 ms at 1", report["edge_first_token_p99_ms"]["1"], 10.0, added=True
        ),
        Target("edge: CPU us per delta", report["edge_cpu_us_per_delta_at_100_tokens_per_s"], 40.0),
        Target("edge: MB", report["edge_rss_mb"], 100.0),
    ]


class _Api:
    """The chat completions of one address."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str) -> None:
        self._session = session
        self._url = f"{url}/v1/chat/completions"
        self._model = model

    async def whole(self) -> None:
        async with self._session.post(self._url, json=self._body(PROMPT)) as answer:
            body = await answer.json()
        assert body["choices"][0]["finish_reason"] == "stop", body

    def stream(self, tokens: int) -> Ask:
        body = self._body(streamed_prompt(tokens), stream=True)

        async def ask() -> None:
            last, length = b"", 0
            async with self._session.post(self._url, json=body) as answer:
                async for line in answer.content:
                    if line.startswith(b"data: {"):
                        length += _text_length(line.removeprefix(b"data: "))
                    last = line if line.startswith(b"data: ") else last
            assert last == b"data: [DONE]\n", last
            assert length > tokens

        return ask

    async def first_tokens_ms(self, at_once: int) -> list[float]:
        """How long each stream takes from the request to its first text."""
        body = self._body(streamed_prompt(8), stream=True)
        found: list[float] = []

        async def ask() -> None:
            began_s, first_s = time.perf_counter(), None
            async with self._session.post(self._url, json=body) as answer:
                async for line in answer.content:
                    if first_s is None and b'"content":"' in line and b'"content":""' not in line:
                        first_s = time.perf_counter()
            assert first_s is not None
            found.append((first_s - began_s) * 1000)

        await run(ask, at_once=at_once, total=at_once)
        found.clear()
        await run(ask, at_once=at_once, total=FIRST_TOKENS[at_once])
        return found

    def _body(self, prompt: str, **fields: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": self._model, "messages": messages, "max_tokens": 5000, **fields}


def _text_length(chunk: bytes) -> int:
    return sum(len(choice["delta"].get("content") or "") for choice in msgspec.json.decode(chunk)["choices"])


async def _whole(system: System, edge: Process, through: _Api, direct: _Api) -> dict[str, Any]:
    await run(through.whole, at_once=16, total=300)
    before = cpu_s(system, edge)
    figures = await _figures(through.whole)
    spent = spent_ms(before, cpu_s(system, edge), sum(REQUESTS.values()))
    await run(direct.whole, at_once=16, total=300)
    bare = await _figures(direct.whole)
    return {
        "edge_cpu_ms_per_request": _ours(spent, 3),
        "edge_cpu_ms_by_process": spent,
        "edge_added_p50_ms": _added(figures, bare, 0.50),
        "edge_added_p99_ms": _added(figures, bare, 0.99),
        "edge_p99_to_queueing_at_64": to_queueing_at_64(figures),
        "edge_requests_per_s": round(figures[64].per_s, 1),
    }


async def _figures(ask: Ask) -> dict[int, Figures]:
    return {at: await run(ask, at_once=at, total=REQUESTS[at]) for at in AT_ONCE}


async def _per_delta(
    system: System, edge: Process, through: _Api, streams: int = STREAMS
) -> tuple[float, dict[str, float]]:
    """The cost of one more token of a stream: the difference between long and short streams."""
    spent = {}
    for tokens in (SHORT, LONG):
        ask = through.stream(tokens)
        await run(ask, at_once=16, total=16)
        before = cpu_s(system, edge)
        await run(ask, at_once=64, total=streams)
        spent[tokens] = spent_ms(before, cpu_s(system, edge), streams)
    more = {
        name: round((spent[LONG][name] - spent[SHORT][name]) * 1000 / (LONG - SHORT), 2)
        for name in spent[LONG]
    }
    return _ours(more, 2), more


async def _stall_free_streams(url: str) -> int:
    """The largest number of streams at once of which none has a gap above STALL_MS; 0: not even FEWEST_STREAMS.

    The number is doubled while it passes; then the interval is halved down to STREAMS_STEP. A number fails only when it
    has failed twice, since other processes on the machine cause gaps, too.
    """
    give_up_s = time.perf_counter() + SEARCH_S
    passed, failed, count = 0, MOST_STREAMS + 1, FEWEST_STREAMS
    while failed - passed > STREAMS_STEP and time.perf_counter() < give_up_s:
        if await _is_stall_free(url, count) or await _is_stall_free(url, count):
            passed = count
        else:
            failed = count
        count = min(2 * passed, MOST_STREAMS) if failed > MOST_STREAMS else (passed + failed) // 2
    return passed


async def _is_stall_free(url: str, count: int) -> bool:
    prompts = [f"{PROMPT} {number} [[tokens={STALL_TOKENS}]]" for number in range(count)]
    streams = await stream_at_once(url, "chat", prompts)
    assert all(stream.is_whole for stream in streams)
    return longest_gap_ms(streams) <= STALL_MS


def _ours(spent: dict[str, float], digits: int) -> float:
    """Of all Penstock processes; the client is not one."""
    return round(spent["edge"] + spent["router"] + spent["worker"], digits)


def _added(figures: dict[int, Figures], bare: dict[int, Figures], share: float) -> dict[str, float]:
    ours, theirs = latency(figures, share), latency(bare, share)
    return {at: round(ours[at] - theirs[at], 3) for at in ours}
