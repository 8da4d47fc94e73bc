"""D2: a request whose provider has no quota before the deadline ends at once, and says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.embed import EmbedRequests, vector_of

MODEL = "refuser"


async def test_d2_requests_end_at_once_where_a_pause_outlasts_their_deadlines(tmp_path: Path) -> None:
    require_nats_server()
    config = catalogue(
        {"embed": (MODEL,)},
        models={MODEL: {"embedding": {"dimensions": 256}, "price": {"input": 20_000}}},
    )
    async with running_system(tmp_path, "embed", config=config) as system, await system.client() as client:
        requests = await EmbedRequests.started(client)
        await system.sim("PUT", "behaviour", {MODEL: "429=8"})
        began_s = time.monotonic()
        hurried, patient = await asyncio.gather(
            requests.send(["a text", "a text of both"], within_s=5.0),
            requests.send(["a text of both", "another text"], within_s=30.0),
        )
        await hurried.ended
        assert time.monotonic() - began_s < 3
        error = hurried.failure.error
        assert (error.code, error.retry) == ("rate_limited", "later")
        assert MODEL in error.message
        assert [(attempt.kind, attempt.status) for attempt in error.attempts] == [("rate_limited", 429)]
        assert error.retry_after_s is not None
        assert 6 < error.retry_after_s <= 8
        await system.sim("PUT", "behaviour", {MODEL: ""})
        await patient.ended
    assert patient.vectors == [vector_of("a text of both"), vector_of("another text")]
    assert patient.result.embedded == 2
