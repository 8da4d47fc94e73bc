"""H2, E4: vectors of a job that exceed a stored result come to the caller, and what reads the result says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import ResultGone
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.embed import vector_of

TEXTS, DIMENSIONS = 1_200, 2_048
"""9.4 MiB of vectors."""


async def test_e4_vectors_above_8_mib_are_in_the_reply_and_not_in_the_result(tmp_path: Path) -> None:
    require_nats_server()
    embedding = {"dimensions": 2 * DIMENSIONS, "shortens": True}
    model = {"embedding": embedding, "price": {"input": 20_000}}
    config = catalogue({"embed": ("m-embed",)}, models={"m-embed": model})
    texts = [f"text {number}" for number in range(TEXTS)]
    async with running_system(tmp_path, "embed", config=config) as system, await system.client() as client:
        large = await client.embed(texts, dimensions=DIMENSIONS, lane="batch", timeout_s=120)
        assert large.count == TEXTS
        assert large.vectors[-1].tolist() == vector_of(texts[-1], DIMENSIONS)
        job = await client.job(large.id)
        assert (job.state, job.result_bytes) == ("completed", 0)
        with pytest.raises(ResultGone, match="exceeded the message limit"):
            await client.result(large.id)
        again = await client.embed(texts[:10], dimensions=DIMENSIONS, lane="batch")
        assert (again.from_cache, again.cost_microusd) == (10, 0)
        assert (await client.job(again.id)).result_bytes > 0
