"""Requests larger than a NATS message: their bodies go through LLM_BODIES, and are deleted at the end (issue 9, D10)."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from penstock import Client, NotAccepted, RequestTooLarge
from penstock.bus.ids import new_id
from penstock.bus.large_bodies import reference_to, store_body
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest
from penstock.contract.reply import Completed, Failed
from penstock.contract.streams import BODIES, MAX_BODY_BYTES
from penstock.contract.subjects import ReplyAddress
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system, started
from tests.harness.requests.edge_client import read_stream, request
from tests.harness.requests.edge_client import text_of as streamed_text
from tests.harness.requests.jobs import job_in_state
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

MODEL = "m-vision"
QUICK = {"retry": {"initial_backoff_s": 0.02, "max_backoff_s": 0.1, "same_model_retries": 0}}


def conversation(megabytes: float, text: str = "What is in this picture?") -> list[dict[str, Any]]:
    """A message with a picture, so that the request has this size."""
    picture = base64.b64encode(random.Random(megabytes).randbytes(int(megabytes * 750_000))).decode()
    url = {"url": f"data:image/png;base64,{picture}"}
    return [
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]}
    ]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("large"), config=catalogue(role=QUICK)) as running:
        yield running


@pytest.fixture(scope="module")
def edge(system: System) -> Process:
    return started(system.new_edge())


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def post(system: System) -> AsyncIterator[RawPublisher]:
    async for publisher in RawPublisher.opened(system):
        yield publisher


async def stored_parts(client: Client) -> int:
    state = (await client._nc.jetstream().stream_info(BODIES.name)).state
    return int(state.messages)


async def deleted(client: Client) -> None:
    async def none() -> bool:
        return await stored_parts(client) == 0

    await until(none)


async def received(system: System, model: str = MODEL) -> Any:
    return (await system.sim("GET", f"last_request?model={model}"))["messages"]


async def test_d10_the_provider_receives_the_whole_body_of_a_large_request(system: System, client: Client):
    sent = conversation(20)
    reply = await client.chat(sent, role="vision")
    assert reply.model == MODEL
    assert await received(system) == sent
    await deleted(client)
    sent = conversation(20.1)
    assert (await ask(client, sent, role="vision", stream=True)).completed.model == MODEL
    assert await received(system) == sent
    await deleted(client)


async def test_d10_a_large_job_is_answered_and_its_body_deleted(system: System, client: Client):
    sent = conversation(20.2)
    job_id = await client.submit(sent, role="vision")
    await job_in_state(client, job_id, "completed")
    assert await received(system) == sent
    await deleted(client)
