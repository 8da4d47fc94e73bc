"""D9: two edges are replaced one after the other under load; clients that retry as OpenAI's SDK does lose nothing."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from uuid import uuid4

import httpx
import openai
import pytest

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import running_system
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.proofs import report_figures

AT_ONCE = 10
TOKENS = 25


class Balancer(httpx.AsyncBaseTransport):
    """Sends each request to the next edge, as a load balancer without health checks does."""

    def __init__(self, edges: list[Process]) -> None:
        self._edges = edges
        self._turn = itertools.count()
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        edge = self._edges[next(self._turn) % len(self._edges)]
        address = httpx.URL(edge.ready["url"])
        request.url = request.url.copy_with(host=address.host, port=address.port)
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


class Clients:
    """Sends requests one after another, each with an idempotency key; every second one is streamed."""

    def __init__(self, ai: openai.AsyncOpenAI) -> None:
        self._ai = ai
        self._numbers = itertools.count()
        self.stopping = False
        self.answers: dict[str, str] = {}
        """The answers by their prompts."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        while not self.stopping:
            number = next(self._numbers)
            prompt = f"Request {number} [[tokens={TOKENS}]]"
            self.answers[prompt] = await self._answer(prompt, streamed=number % 2 == 0)

    async def _answer(self, prompt: str, *, streamed: bool) -> str:
        headers = {"Idempotency-Key": str(uuid4())}
        asked = [{"role": "user", "content": prompt}]
        create = self._ai.chat.completions.create
        if not streamed:
            answer = await create(model="chat", messages=asked, extra_headers=headers)
            assert answer.choices[0].finish_reason == "stop"
            return answer.choices[0].message.content or ""
        chunks = [
            chunk
            async for chunk in await create(model="chat", messages=asked, stream=True, extra_headers=headers)
        ]
        assert chunks[-1].choices[0].finish_reason == "stop"
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(5, marks=[pytest.mark.prove, pytest.mark.timeout(280)])], ids=("once", "often")
)
async def test_d9_edges_that_are_replaced_under_load_lose_and_repeat_nothing(tmp_path: Path, rounds: int):
    async with running_system(tmp_path, "chat", config=catalogue({"chat": ("talker",)})) as system:
        await system.sim("PUT", "speed", {"tokens_per_second": 50, "first_token_ms": 100})
        edges = [system.new_edge(), system.new_edge()]
        await asyncio.gather(*(edge.start() for edge in edges))
        transport = httpx.AsyncClient(transport=Balancer(edges))
        async with openai.AsyncOpenAI(
            base_url="http://localhost/v1", api_key="any", max_retries=8, http_client=transport
        ) as ai:
            clients = Clients(ai)
            running = asyncio.create_task(clients.run())
            for place in [0, 1] * rounds:
                await asyncio.sleep(0.5)
                assert await edges[place].terminate() == 0
                replacement = system.new_edge()
                await replacement.start()
                edges[place] = replacement
            clients.stopping = True
            await running
        counts = (await system.sim("GET", "counts"))["models"]["talker"]
        report_figures(
            f"D9, edges: {len(clients.answers)} requests with keys, {2 * rounds} edges replaced, "
            f"{counts['attempts']} calls of the provider"
        )
        assert counts["attempts"] == counts["ok"] == len(clients.answers)
        assert len(clients.answers) > 2 * AT_ONCE
        for prompt, answer in list(clients.answers.items())[::10]:
            assert answer == await simulator_answer(system, "talker", prompt)
