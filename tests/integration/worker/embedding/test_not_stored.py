"""H4: the vectors of a request that stores nothing are kept for no other request."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.contract.streams import EMBEDDINGS
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.embed import EmbedRequests, vector_of

CONFIG = catalogue(
    {"embed": ("m-embed",)},
    models={"m-embed": {"embedding": {"dimensions": 256}, "price": {"input": 20_000}}},
)


async def test_h4_vectors_that_are_not_to_be_stored_are_kept_nowhere(tmp_path: Path) -> None:
    require_nats_server()
    async with running_system(tmp_path, "embed", config=CONFIG) as system, await system.client() as client:
        requests = await EmbedRequests.started(client)
        unstored = await asyncio.gather(*(requests.embed("a secret", store=False) for _ in range(2)))
        stored = await requests.embed("a secret")
        last = await requests.embed("a secret", store=False)
        for reply in (*unstored, stored, last):
            assert reply.vectors == [vector_of("a secret")]
            assert (reply.result.embedded, reply.result.from_cache, reply.result.joined) == (1, 0, 0)

        await requests.embed(["another secret", "a third"], store=False)
        jetstream = client._nc.jetstream()
        await requests.embed("the last one")  # stored after what was before it
        messages = 0
        for _ in range(100):
            messages = (await jetstream.stream_info(EMBEDDINGS.name)).state.messages
            if messages >= 2:
                break
            await asyncio.sleep(0.05)
        assert messages == 2
