"""C3: admission in the real system."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.bus.direct_get import read_page
from penstock.bus.ids import new_id
from penstock.bus.stored_replies import stored_replies
from penstock.client.client import Client
from penstock.contract import codec, headers, subjects
from penstock.contract.reply import Accepted, Failed, ReplyEvent
from penstock.contract.streams import PRESENCE, REQUESTS
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

SLOW_MS = 500


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    roles = {"coding": {"slots_per_worker": 2}}
    async with running_system(
        tmp_path, config=catalogue(roles=roles), env={"PENSTOCK_TRACES": "off"}
    ) as running:
        yield running


async def _overloaded(client: Client, role: str, timeout_s: float) -> ReceivedReply:
    """The first rejection: admission uses heartbeats and counts that are up to two seconds old."""
    found: list[ReceivedReply] = []

    async def refused() -> bool:
        found.append(await ask(client, "now", role=role, user=f"v{len(found)}", timeout_s=timeout_s))
        return found[-1].code == "overloaded"

    await until(refused)
    return found[-1]


def _check_immediate(refused: ReceivedReply) -> float:
    assert not any(isinstance(event, Accepted) for event in refused.events)
    assert refused.took_s < 1, "on arrival, not at its deadline"
    assert refused.failed.error.retry == "later"
    delay_s = refused.failed.error.retry_after_s
    assert delay_s is not None
    assert delay_s > 0
    return delay_s


async def test_c3_a_queue_too_long_rejects_at_once_and_the_retry_is_served(
    system: System,
) -> None:
    await system.sim("PUT", "speed", {"latency_ms": SLOW_MS})
    async with await system.client() as client:
        await ask(client, "how long does it take", role="coding")
        queued = [
            asyncio.create_task(ask(client, "queued", role="coding", user=f"u{n}", timeout_s=60))
            for n in range(40)
        ]
        await asyncio.sleep(0)
        refused = await _overloaded(client, "coding", 3.0)
        delay_s = _check_immediate(refused)
        other = await ask(client, "another user", role="chat", timeout_s=3.0)
        explained = await _explained(client, "coding", 3.0)
        again, waited_s = await _retry_until_admitted(client, "coding", delay_s, 3.0)
        answered = await asyncio.gather(*queued)
    assert other.code is None, "a request for another role is not affected"
    assert isinstance(explained, Failed)
    assert explained.error.code == "overloaded"
    assert explained.error.retry_after_s is not None
    assert again.code is None, again.failed
    assert waited_s < 1.5 * delay_s + 1
    assert {each.code for each in answered} == {None}, "requests with long deadlines are admitted and served"


async def test_c3_a_paused_quota_rejects_at_once_and_the_retry_is_served(system: System) -> None:
    limit = {"requests_per_minute": 1, "window_s": 6, "algorithm": "fixed_window"}
    await system.sim("PUT", "limits", {"m-logic": limit})
    async with await system.client() as client:
        assert (await ask(client, "first", role="logic")).code is None
        waiting = asyncio.create_task(ask(client, "waiting", role="logic", timeout_s=30))
        refused = await _overloaded(client, "logic", 1.5)
        delay_s = _check_immediate(refused)
        await system.sim("PUT", "limits", {"m-logic": {**limit, "requests_per_minute": 100}})
        again, waited_s = await _retry_until_admitted(client, "logic", delay_s, 1.5)
        assert (await waiting).code is None
    assert again.code is None, again.failed
    assert waited_s < 1.5 * delay_s + 1


async def test_c3_an_idle_system_admits_any_deadline(system: System) -> None:
    await system.sim("PUT", "speed", {"latency_ms": SLOW_MS})
    async with await system.client() as client:
        for _ in range(3):
            assert (await ask(client, "slow", role="fast")).code is None
        await until(lambda: _service_time_is_reported(client, "fast"))
        short = await ask(client, "short", role="fast", timeout_s=SLOW_MS / 2000)
    assert short.code == "deadline_exceeded"
    assert any(isinstance(event, Accepted) for event in short.events)


async def test_c3_a_router_that_just_started_rejects_nothing(system: System) -> None:
    system.router.kill()
    system.router = system.new_router()
    await system.router.start()
    async with await system.client() as client:
        asked = await asyncio.gather(
            *(ask(client, f"{n}", role="creative", timeout_s=10) for n in range(100))
        )
    assert {each.code for each in asked} == {None}


async def test_c3_explain_forecasts_the_wait_of_the_asking_user(system: System) -> None:
    await system.sim("PUT", "speed", {"latency_ms": SLOW_MS})
    async with await system.client() as client:
        await ask(client, "how long does it take", role="coding")
        queued = [
            asyncio.create_task(ask(client, "queued", role="coding", user="many", timeout_s=60))
            for _ in range(60)
        ]
        waits: dict[str, float] = {}

        async def distinguished() -> bool:
            for name in ("many", "new"):
                answer = await _asked(client, "coding", 600.0, account="demo", user=name)
                waits[name] = json.loads(answer).get("wait_s") or 0.0
            return waits["many"] > waits["new"] > 0

        await until(distinguished)
        invalid = codec.REPLY.decode(await _asked(client, "coding", 600.0, account="no.such"))
        for each in queued:
            each.cancel()
        await asyncio.gather(*queued, return_exceptions=True)
    assert isinstance(invalid, Failed)
    assert invalid.error.code == "invalid_request"


async def _service_time_is_reported(client: Client, role: str) -> bool:
    """Whether a heartbeat has reported the service time of `role`."""
    page = await read_page(client._nc, f"KV_{PRESENCE.name}", f"$KV.{PRESENCE.name}.worker.>")
    reported = [each for msg in page.messages if msg.data for each in codec.PRESENCE.decode(msg.data).roles]
    return any(each.role == role and each.service_ms is not None for each in reported)


async def _retry_until_admitted(
    client: Client, role: str, delay_s: float, timeout_s: float
) -> tuple[ReceivedReply, float]:
    """Retry as often as rejected; the queue may move a little slower than forecast."""
    waited_s = delay_s
    await asyncio.sleep(delay_s)
    while (
        again := await ask(client, "again", role=role, user="again", timeout_s=timeout_s)
    ).code == "overloaded":
        delay_s = again.failed.error.retry_after_s or 0.0
        waited_s += delay_s
        await asyncio.sleep(delay_s)
    return again, waited_s


async def _explained(client: Client, role: str, left_s: float) -> object:
    return codec.REPLY.decode(await _asked(client, role, left_s, account="demo"))


async def _asked(client: Client, role: str, left_s: float, **requesting: str) -> bytes:
    body = {"messages": [{"role": "user", "content": "now"}]}
    request = {
        "type": "chat_request",
        "id": new_id(),
        "client": "c",
        "role": role,
        "body": body,
        "deadline_ms": int((time.time() + left_s) * 1000),
        **requesting,
    }
    msg = await client._nc.request(subjects.EXPLAIN, json.dumps(request).encode(), timeout=2)
    return bytes(msg.data)


async def test_c3_a_repeated_request_is_decided_unless_accepted_before(
    system: System,
) -> None:
    limit = {"requests_per_minute": 1, "window_s": 30, "algorithm": "fixed_window"}
    await system.sim("PUT", "limits", {"m-logic": limit})
    async with await system.client() as client:
        assert (await ask(client, "first", role="logic")).code is None
        await _overloaded(client, "logic", 1.5)
        js = client._nc.jetstream()

        async def sent_again(request_id: str, timeout_s: float) -> ReplyEvent:
            """A request with the header of a repeated one, and the first event of its reply."""
            order = {
                "type": "chat_request",
                "id": request_id,
                "client": "post",
                "role": "logic",
                "deadline_ms": int(time.time() * 1000 + timeout_s * 1000),
                "body": {"messages": [{"role": "user", "content": "again"}]},
            }
            await js.publish(
                subjects.request("demo", "chat"), json.dumps(order).encode(), headers={headers.REPEATED: "1"}
            )
            events: list[ReplyEvent] = []

            async def received() -> bool:
                events[:] = await stored_replies(client._nc, subjects.reply("demo", "post", request_id))
                return bool(events) and (await js.stream_info(REQUESTS.name)).state.messages == 0

            await until(received)
            return events[-1]

        strangers = [await sent_again(new_id(), 1.5) for _ in range(5)]
        known = new_id()
        assert isinstance(await sent_again(known, 60), Accepted), "its deadline has not passed"
        again = await sent_again(known, 1.5)
    assert {each.error.code for each in strangers if isinstance(each, Failed)} == {"overloaded"}
    assert all(each.seq == 0 for each in strangers), "nothing was accepted"
    assert isinstance(again, Accepted), (
        "it is in its mailbox: a second decision would end an accepted request"
    )
