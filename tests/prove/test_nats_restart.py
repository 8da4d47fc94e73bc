"""D7: the one nats-server, with its file store, is stopped or killed under load; service resumes within seconds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.harness.processes.system import running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.load import Load, stored_ends
from tests.harness.suite.proofs import report_figures

TIMES = 5
AWAY_S = 0.5
GAP_S = 5.0


@pytest.mark.prove
@pytest.mark.timeout(200)
@pytest.mark.parametrize("how", ["SIGTERM", "kill -9"])
async def test_d7_restarts_of_nats_server_lose_and_repeat_no_request(tmp_path: Path, how: str):
    async with running_system(tmp_path, "chat,coding", "all") as system, await system.client() as client:
        await system.sim("PUT", "speed", {"tokens_per_second": 150, "first_token_ms": 20})
        load = Load(client, ("chat", "coding", "fast"), at_once=24)
        gaps: list[float] = []
        async with load.running():
            await load.more(100)
            for _ in range(TIMES):
                began_s = time.monotonic()
                if how == "SIGTERM":
                    await system.nats.stop()
                else:
                    system.nats.kill()
                await asyncio.sleep(AWAY_S)
                await system.nats.start()
                await load.more(200)
                gaps.append(load.longest_gap_s(began_s))
        audit = await audit_attempts(system, load.ids)
        ends = await stored_ends(client, load.ids)
        report_figures(
            f"D7, {how}: {len(load.received)} requests {dict(load.outcomes)}, ends {dict(ends)}; {audit}"
        )
        report_figures(f"away {AWAY_S:g} s each time; gaps {', '.join(f'{gap:.1f}' for gap in gaps)} s")
        assert ends == {1: len(load.received)}
        assert load.outcomes == {"completed": len(load.received)}
        audit.check()
        assert max(gaps) < GAP_S
