"""E1, D10: two hundred streams at once through one edge, beside the same streams of the provider directly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.stream_load import longest_gap_ms, stream_at_once
from tests.harness.suite.proofs import report_figures

STREAMS, TOKENS = 200, 100
FEWEST_ROUNDS, MOST_ROUNDS = 3, 8
STALL_MS = 250
GROWTH_MB = 8

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]


async def test_e1_two_hundred_streams_without_a_stall_in_flat_memory(tmp_path: Path):
    """Load and servers share the processors, and other processes only lengthen the gaps: the best round counts."""
    config = catalogue({"chat": ("talker",)}, roles={"chat": {"slots_per_worker": 256}})
    async with running_system(tmp_path, "chat", config=config, fresh=True) as system:
        edge = system.new_edge()
        await edge.start()
        await system.sim("PUT", "speed", {"tokens_per_second": 50})
        prompts = [f"Stream {number} [[tokens={TOKENS}]]" for number in range(STREAMS)]
        direct_ms: list[int] = []
        added_ms: list[int] = []
        memory_mb: list[float] = []
        while len(added_ms) < FEWEST_ROUNDS or (min(added_ms) >= STALL_MS and len(added_ms) < MOST_ROUNDS):
            direct = await stream_at_once(system.simulator.ready["url"], "talker", prompts)
            streams = await stream_at_once(edge.ready["url"], "chat", prompts)
            assert all(stream.is_whole for stream in streams)
            assert [stream.text for stream in streams] == [stream.text for stream in direct]
            direct_ms.append(round(longest_gap_ms(direct)))
            added_ms.append(round(longest_gap_ms(streams) - longest_gap_ms(direct)))
            memory_mb.append(round(edge.rss_mb(), 1))
    report_figures(
        f"{STREAMS} streams of {TOKENS} tokens at 50/s: longest gap of the provider {direct_ms} ms, added by Penstock "
        f"{added_ms} ms; memory of the edge after each round {memory_mb} MB"
    )
    assert min(added_ms) < STALL_MS
    assert memory_mb[-1] - memory_mb[1] < GROWTH_MB
