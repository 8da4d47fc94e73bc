"""C6: an account that names hundreds of users does not delay another one, and a user's requests start in order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from penstock.contract.streams import WORK
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

PROVIDER_MS = 400
USERS = 300


async def test_c6_the_users_of_one_account_precede_no_other_account(tmp_path: Path):
    config = catalogue(roles={"chat": {"slots_per_worker": 8}})
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as many,
        await system.client(account="other") as other,
    ):
        await system.sim(
            "PUT", "speed", {"latency_ms": PROVIDER_MS, "first_token_ms": 0, "tokens_per_second": 0}
        )
        flood = [
            asyncio.create_task(ask(many, "Hi", role="chat", user=f"u{number}", timeout_s=90, stream=False))
            for number in range(USERS)
        ]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        received = await ask(other, "Hi", role="chat", user="first", timeout_s=90, stream=False)
        left = sum(not task.done() for task in flood)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert received.code is None
    assert left > USERS * 2 / 3, "the flood of 15 s still waited"
    assert received.took_s < 5 * PROVIDER_MS / 1000


async def test_c6_requests_of_one_user_start_in_order_beside_a_flood(tmp_path: Path):
    """The first 4 wait in the first priority behind 40 of other accounts, the others in the second one."""
    config = catalogue(roles={"chat": {"slots_per_worker": 1}})
    async with (
        running_system(tmp_path, "chat", config=config) as system,
        await system.client() as client,
        AsyncExitStack() as stack,
    ):
        await system.sim("PUT", "speed", {"latency_ms": 60, "first_token_ms": 0, "tokens_per_second": 0})
        js = client._nc.jetstream()

        async def stored() -> int:
            return (await js.stream_info(WORK.name)).state.last_seq

        async def holds(number: int) -> bool:
            return await stored() >= number

        others = [await stack.enter_async_context(await system.client(account=f"a{n}")) for n in range(10)]
        flood = [
            asyncio.create_task(ask(other, "Hi", role="chat", user="u", timeout_s=50, stream=False))
            for other in others
            for _ in range(4)
        ]
        before = len(flood)
        await until(lambda: holds(before))
        ids: list[str] = []
        replies = []
        for number in range(1, 13):
            stream = client.stream("Hi", role="chat", user="mine", timeout_s=50)
            ids.append(stream.id)
            replies.append(asyncio.create_task(anext(aiter(stream))))
            sent = before + number
            await until(lambda sent=sent: holds(sent))
        await asyncio.gather(*flood, *replies)

        async def started() -> list[str]:
            labels = [label.rpartition(".")[0] for label in await system.sim("GET", "labels")]
            return [label for label in labels if label in ids]

        async def all_started() -> bool:
            return len(await started()) == len(ids)

        await until(all_started)
        assert await started() == ids
