"""F1, F2, D7: the attempt of a killed worker is recorded, also when no other worker retries it, and its hold freed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.contract.names import Lane
from penstock.contract.reply import Failed
from tests.fault.malformed import request
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

LONG = "Tell me of the river. [[tokens=2000]]"


@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_f2_the_last_attempt_before_the_dead_letter_has_its_usage_event(
    tmp_path: Path, lane: Lane
) -> None:
    env = {"PENSTOCK_MAX_DELIVER": "1"}
    config = catalogue(budgets={"ledger_wait_s": 0.4})
    async with (
        running_system(tmp_path, "chat", env=env, config=config) as system,
        FakeLedger.running(system.nats.url) as ledger,
    ):
        await system.sim("PUT", "speed", {"tokens_per_second": 20})
        async for publisher in RawPublisher.opened(system):
            asked = request() | {"lane": lane, "role": "chat"}
            asked["body"] = {"messages": [{"role": "user", "content": LONG}]}
            await publisher.request(json.dumps(asked).encode(), client=asked["client"])

            async def called() -> bool:
                return await system.attempts() == 1

            await until(called)
            system.workers[0].kill()
            system.workers[0] = system.new_worker("chat")
            await system.workers[0].start()
            end = await publisher.end(asked["id"], client=asked["client"], timeout_s=20)
            assert isinstance(end, Failed)
            assert end.error.code == "undeliverable"
            await until(lambda: [event.why for event in ledger.released] == ["undeliverable"])
            counted = await audit_attempts(system, {asked["id"]})
            counted.check()
            assert counted.made == counted.recorded
            assert counted.lost == {f"{asked['id']}.1"}
