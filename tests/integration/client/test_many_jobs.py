"""E4: fifty thousand jobs of an account are listed in seconds, and one of them is found at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

from penstock.client.client import Client
from penstock.contract import subjects
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure

MANY = 50_000
FLUSHED_EVERY = 1_000
EXAMPLE = json.loads((Path(__file__).parents[3] / "schemas/examples/job.json").read_text())
LIST_S, ONE_S = 30.0, 2.0


async def test_e4_fifty_thousand_jobs_are_listed(own_nats_server, own_nc):
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    for number in range(MANY):
        job = EXAMPLE | {"id": f"job-{number}"}
        await own_nc.publish(subjects.job("shop", "c", job["id"]), json.dumps(job).encode())
        if number % FLUSHED_EVERY == 0:
            await own_nc.flush()
    await own_nc.flush()

    async with await Client.connect(own_nats_server.url, account="shop") as client:
        began_s = time.monotonic()
        assert len(await client.jobs()) == MANY
        listed_s = time.monotonic()
        assert (await client.job(f"job-{MANY // 2}")).id == f"job-{MANY // 2}"
        found_s = time.monotonic()
    assert listed_s - began_s < LIST_S
    assert found_s - listed_s < ONE_S
