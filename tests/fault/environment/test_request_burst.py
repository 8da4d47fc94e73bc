"""C6: a burst of requests of one account, or of jobs, delays neither other accounts nor other requests."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import yaml

from penstock import NotAccepted
from penstock.contract.names import Lane
from penstock.contract.reply import Accepted
from penstock.contract.streams import REQUESTS
from tests.harness.nats.intake import accounts_apart
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ReceivedReply, ask
from tests.harness.requests.request_burst import publish_burst, waiting_requests
from tests.harness.suite.waiting import until

BURST = 3_000
FLOOD, JOBS, FULL, *OTHERS = accounts_apart(7)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = yaml.safe_load(catalogue()) | {"accounts": {"limited": {"requests_per_s": 0.5, "burst": 5}}}
    with shared_system(
        tmp_path_factory.mktemp("request-burst"),
        config=yaml.safe_dump(config),
        env={"PENSTOCK_TRACES": "off", "PENSTOCK_LOG_LEVEL": "error"},
    ) as running:
        yield running


@pytest.mark.parametrize(("account", "lane"), [(FLOOD, "interactive"), (JOBS, "batch")])
async def test_c6_requests_of_others_are_answered_while_a_burst_waits(
    system: System, publisher: RawPublisher, account: str, lane: Lane
) -> None:
    """Also those of the account itself, if the burst is one of jobs."""
    await until(lambda: _is_routed(publisher), 60)
    senders = [*OTHERS, account] if lane == "batch" else OTHERS
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await system.client(account=name)) for name in senders]
        await publish_burst(publisher.nc, account, BURST, lane=lane)
        accepted = await asyncio.gather(*(_accepted(client) for client in clients))
        waiting = await waiting_requests(publisher.nc)
    assert all(accepted)
    assert waiting > BURST / 2, "the burst is still to be routed"


async def test_c6_requests_above_the_rate_of_their_account_are_refused_with_the_time_to_come_back(
    system: System, publisher: RawPublisher
) -> None:
    await until(lambda: _is_routed(publisher), 60)
    async with await system.client(account="limited") as client, await system.client() as other:
        received: list[ReceivedReply] = await asyncio.gather(
            *(ask(client, "Now?", role="chat", stream=False) for _ in range(30))
        )
        assert (await ask(other, "And here?", role="chat")).code is None
    refused = [each.failed for each in received if each.code is not None]
    assert {each.error.code for each in refused} == {"rate_limited"}
    assert 20 <= len(refused) <= 25
    assert all(each.error.retry == "later" and 0 < (each.error.retry_after_s or 0) <= 2 for each in refused)


async def test_c6_an_account_with_too_many_waiting_requests_is_told_at_once(
    system: System, publisher: RawPublisher
) -> None:
    await until(lambda: _is_routed(publisher), 60)
    system.router.signal(signal.SIGSTOP)
    try:
        await publish_burst(publisher.nc, FULL, 10_500)
        async with await system.client(account=FULL) as client:
            began_s = time.monotonic()
            with pytest.raises(NotAccepted, match="requests of this account wait") as caught:
                await client.chat("Now?", role="chat", timeout_s=60)
            assert time.monotonic() - began_s < 2
        assert (caught.value.code, caught.value.http_status) == ("overloaded", 429)
        assert caught.value.retry_after_s
        async with await system.client(account=OTHERS[0]) as other:
            await other.submit("And here?", role="chat")
    finally:
        await publisher.js.purge_stream(REQUESTS.name)
        system.router.signal(signal.SIGCONT)


async def _accepted(client) -> bool:
    """Whether a router took the request; its answer may wait for a worker, which has a share of the burst."""
    async for event in client.stream("Hello", role="chat", timeout_s=60):
        if isinstance(event, Accepted):
            return True
    return False


async def _is_routed(publisher: RawPublisher) -> bool:
    return await waiting_requests(publisher.nc) == 0
