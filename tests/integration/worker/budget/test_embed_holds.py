"""F1, H2: the hold of an embed request ends with its usage, and is released where its texts cost nothing."""

from __future__ import annotations

from pathlib import Path

from penstock.contract.events import UsageRecorded
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import running_system
from tests.harness.records.stored_events import stored_events
from tests.harness.suite.waiting import until

TEXTS = [f"a text under a budget, number {number}" for number in range(90)]


async def test_f1_the_hold_of_a_request_whose_texts_are_known_is_released(tmp_path: Path) -> None:
    model = {"embedding": {"dimensions": 256, "max_inputs": 40}, "price": {"input": 20_000, "output": 0}}
    config = catalogue({"embed": ("m-embed",)}, models={"m-embed": model}, budgets={"ledger_wait_s": 1.0})
    async with (
        running_system(tmp_path, "embed", config=config) as system,
        FakeLedger.running(system.nats.url) as ledger,
        await system.client() as client,
    ):
        paid = await client.embed(TEXTS)
        events = [event for event in await stored_events(system, UsageRecorded) if event.id == paid.id]
        assert sorted(event.ends for event in events) == [False, False, True]
        assert all(event.hold_id for event in events)
        assert ledger.released == []
        known = await client.embed(TEXTS)
        assert known.cost_microusd == 0
        await until(lambda: len(ledger.released) == 1)
        assert (ledger.released[0].why, known.id in ledger.released[0].hold_id) == ("completed", True)
