"""D2: a request whose provider has no quota until the deadline says so."""

from __future__ import annotations

from pathlib import Path

from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.embed import EmbedRequests

MODEL = "refuser--429=60"


async def test_d2_a_deadline_that_passes_in_a_pause_names_the_pause(tmp_path: Path) -> None:
    require_nats_server()
    config = catalogue(
        {"embed": (MODEL,)},
        models={MODEL: {"embedding": {"dimensions": 256}, "price": {"input": 20_000}}},
    )
    async with running_system(tmp_path, "embed", config=config) as system, await system.client() as client:
        requests = await EmbedRequests.started(client)
        error = (await requests.embed("a text", within_s=2.0)).failure.error
    assert error.code == "deadline_exceeded"
    assert f"waited for the quota of {MODEL}" in error.message
    assert [(attempt.kind, attempt.status) for attempt in error.attempts] == [("rate_limited", 429)]
    assert error.retry_after_s is not None
    assert error.retry_after_s > 50
