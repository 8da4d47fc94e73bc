"""Applications that are frozen while their answers arrive, and two `penstock up` on one NATS server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.runtime.runtime_file import read_runtime_file
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import ForkedCommand
from tests.harness.processes.penstock_up import UNSET
from tests.harness.processes.system import running_system
from tests.harness.suite.proofs import report_figures
from tests.harness.suite.waiting import until

QUOTA = 30


@pytest.mark.prove
@pytest.mark.timeout(150)
async def test_twenty_frozen_applications_disturb_nobody_and_get_their_answers(tmp_path: Path):
    async with running_system(tmp_path) as system, await system.client() as client:
        await system.hold_answers()
        env = {**os.environ, "NATS_URL": system.nats.url}
        asking = [ForkedCommand(("ask", "--json", f"Question {n}"), env) for n in range(20)]

        async def all_called() -> bool:
            return await system.attempts() >= 16  # the slots of the worker

        await until(all_called, 60)
        for process in asking:
            process.send_signal(signal.SIGSTOP)
        await system.release_answers()
        times = []
        for number in range(40):
            began_s = time.monotonic()
            assert (await client.chat(f"Meanwhile {number}", role="fast")).text
            times.append(time.monotonic() - began_s)
        await asyncio.sleep(5)
        for process in asking:
            process.send_signal(signal.SIGCONT)
        answers = await asyncio.gather(*(asyncio.to_thread(process.result) for process in asking))
        ends = [json.loads(answer.out.splitlines()[-1])["type"] for answer in answers]
        assert ends == ["completed"] * 20
        report_figures(f"20 frozen applications: all answered; others meanwhile at most {max(times):.2f} s")


@pytest.mark.prove
@pytest.mark.timeout(200)
async def test_two_up_on_one_nats_share_its_quota_and_its_requests(tmp_path: Path):
    limits = {"m-chat": {"limits": {"requests_per_minute": QUOTA}}}
    async with (
        running_system(tmp_path, config=catalogue(models=limits)) as system,
        await system.client() as client,
    ):
        for process in (system.router, *system.workers):
            await process.terminate()
        env = {name: value for name, value in os.environ.items() if name not in UNSET}
        env |= {
            "NATS_URL": system.nats.url,
            "PENSTOCK_CATALOGUE": str(system.catalogue),
            "PENSTOCK_SIMULATOR_URL": system.simulator.ready["url"],
        }
        ups = [ForkedCommand(("up", "--data", str(tmp_path / name)), env) for name in ("one", "two")]
        try:
            for name in ("one", "two"):
                await until(lambda name=name: read_runtime_file(tmp_path / name) is not None, 90)
            third = ForkedCommand(("up", "--data", str(tmp_path / "one")), env)
            refused = await asyncio.to_thread(third.result)
            assert refused.code == 1
            assert "is in use by another `penstock up`" in refused.notes

            replies = await asyncio.gather(*(client.chat(f"Hello {n}", role="fast") for n in range(100)))
            assert len({reply.id for reply in replies}) == 100
            assert await system.attempts() == 100
            limited = await asyncio.gather(
                *(client.chat(f"Now {n}", role="chat", timeout_s=10) for n in range(2 * QUOTA)),
                return_exceptions=True,
            )
            served = sum(not isinstance(reply, PenstockError) for reply in limited)
            assert served <= await system.attempts("m-chat") <= QUOTA
            report_figures(
                f"two up on one NATS: 100 of 100 called once; {served} of a limit of {QUOTA} served"
            )
        finally:
            for up in ups:
                up.send_signal(signal.SIGTERM)
            codes = [(await asyncio.to_thread(up.result)).code for up in ups]
        assert codes == [0, 0]
