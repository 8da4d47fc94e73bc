"""C6: a thousand queued requests of one user are behind the first requests of the other users."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from penstock.contract import headers, subjects
from penstock.contract.reply import Failed
from penstock.contract.streams import DEAD, WORK
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

FLOOD = 1000
OTHERS = ("ada", "eve", "ian")
OF_AN_EARLIER_VERSION = "llm.work.chat.interactive"


async def queued(js: JetStreamContext) -> dict[str, int]:
    return (await js.stream_info(WORK.name, subjects_filter=">")).state.subjects or {}


@pytest.mark.timeout(240)
async def test_c6_the_first_requests_of_others_precede_a_thousand_of_one_user(tmp_path: Path):
    config = catalogue(roles={"chat": {"slots_per_worker": 8}})
    async with running_system(tmp_path, "chat", config=config) as system, await system.client() as client:
        await system.sim("PUT", "speed", {"latency_ms": 30, "first_token_ms": 0, "tokens_per_second": 0})
        js = client._nc.jetstream()
        system.workers[0].kill()
        ended: list[str] = []

        async def one(user: str) -> None:
            received = await ask(client, "Deep?", role="chat", user=user, timeout_s=100, stream=False)
            assert received.code is None
            ended.append(user)

        asked = [asyncio.create_task(one("flood")) for _ in range(FLOOD)]
        await until(lambda: _holds(js, FLOOD))
        asked += [asyncio.create_task(one(user)) for user in OTHERS]
        await until(lambda: _holds(js, FLOOD + len(OTHERS)))

        ranks: Counter[tuple[str, int]] = Counter()
        for subject, count in (await queued(js)).items():
            address = subjects.work_address(subject)
            assert address is not None, subject
            ranks[address.flow, address.rank] += count
        flood = subjects.flow("demo", "flood")
        limits = (4, 4 + 28, 4 + 28 + 224)
        first_ranks = list(itertools.accumulate(ranks[flood, rank] for rank in range(3)))
        assert all(count <= limit for count, limit in zip(first_ranks, limits, strict=True)), first_ranks
        assert sum(ranks[flood, rank] for rank in range(4)) == FLOOD
        assert all(ranks[subjects.flow("demo", user), 0] == 1 for user in OTHERS)

        system.workers.append(system.new_worker("chat"))
        await system.workers[1].start()
        await asyncio.gather(*asked)
        places = [ended.index(user) for user in OTHERS]
        assert max(places) < 40, "only the first four of the flood, and requests begun beside them, are ahead"
        assert Counter(ended) == {"flood": FLOOD, **dict.fromkeys(OTHERS, 1)}


async def _holds(js: JetStreamContext, count: int) -> bool:
    return sum((await queued(js)).values()) == count


async def test_c6_d7_messages_of_an_earlier_version_end_or_are_dead_lettered(tmp_path: Path):
    async with (
        running_system(tmp_path, "chat") as system,
        asynccontextmanager(RawPublisher.opened)(system) as publisher,
    ):
        address = subjects.reply("demo", "publisher", "old")
        written = {headers.REPLY_SUBJECT: address, headers.DEADLINE_MS: str(int(time.time() * 1000))}
        await publisher.js.publish(OF_AN_EARLIER_VERSION, b"{}", headers=written)
        await publisher.js.publish(OF_AN_EARLIER_VERSION, b"not JSON")
        end = await publisher.end("old")
        assert isinstance(end, Failed)
        assert end.error.code == "deadline_exceeded"
        await until(lambda: _holds(publisher.js, 0))
        letter = await publisher.js.get_last_msg(DEAD.name, subjects.dead("router"))
        assert (letter.headers or {})[headers.DEAD_SUBJECT] == OF_AN_EARLIER_VERSION
