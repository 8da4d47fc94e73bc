"""C3: an answer that used more tokens than the limit allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nats
import yaml

from penstock.client.client import Client
from penstock.runtime.heartbeat import read_presence
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.providers.scripted_provider import Call, Part, head, scripted_provider
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

LIMIT = 20_000


def _answer(call: Call) -> Iterator[Part]:
    tokens = 50_000 if call.body["messages"][-1]["content"] == "reason" else 20
    message = {"role": "assistant", "content": "yes"}
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": usage}).encode()
    yield head("200 OK", "application/json", f"Content-Length: {len(body)}")
    yield body


async def test_c3_after_an_answer_above_the_limit_the_full_quota_of_another_key_is_used(
    tmp_path: Path,
) -> None:
    """Both keys have a quota of their own; the tokens of a request are estimated per model."""
    with scripted_provider("m-chat") as provider:
        provider.answer = _answer
        limits = {"tokens_per_minute": LIMIT}
        config = yaml.safe_load(catalogue({"chat": ["m-chat"]}, models={"m-chat": {"limits": limits}}))
        config["providers"]["simulator"] |= {"base_url": provider.url, "api_key_env": ["A_KEY", "B_KEY"]}
        env = {"A_KEY": "sk-the-first-key-0001", "B_KEY": "sk-the-second-key-0002"}
        async with running_system(tmp_path, "chat", config=yaml.safe_dump(config), env=env) as system:
            client = await system.client()
            assert (await ask(client, "reason", role="chat", stream=False, timeout_s=30)).code is None
            for ended in range(1, 5):
                await until(partial(_is_reported, system, ended))
                await until(partial(_is_admitted, client), timeout_s=20, every_s=0.2)
            await client.close()
    assert {call.key for call in provider.calls} == set(env.values())


async def _is_admitted(client: Client) -> bool:
    return (await ask(client, "usual", role="chat", stream=False, timeout_s=30)).code is None


async def _is_reported(system: System, ended: int) -> bool:
    """Whether a heartbeat has reported so many requests."""
    nc = await nats.connect(system.nats.url)
    try:
        found = [each for presence in await read_presence(nc) for each in presence.roles]
    finally:
        await nc.close()
    return any(each.ended == ended for each in found)
