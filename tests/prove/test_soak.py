"""K7, D7: fifty dialogues for over a minute with providers that fail a tenth of the calls with 429 or 5xx each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator

import nats
import pytest
from nats.aio.msg import Msg

from penstock.bus.stored_replies import read_event
from penstock.client.client import Client
from penstock.contract.reply import TERMINAL
from tests.bench.load import percentile
from tests.harness.processes.catalogues import ROLES, catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ReceivedReply, ask, simulator_answer
from tests.harness.suite.proofs import report_figures

DIALOGUES = 50
TURNS = 6
DURATION_S = 75
WARM_UP_S = 20
GROWTH_MB = 15
PAUSE_S = 0.25
"""Seconds between two turns of a dialogue, in which the user reads."""
ASKED = tuple(role for role in ROLES if role not in {"vision", "safety"})
CHAINS = {role: (f"{role.replace('_', '-')}-large", f"{role.replace('_', '-')}-small") for role in ASKED}

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    role = {"retry": {"initial_backoff_s": 0.05, "max_backoff_s": 1.0}}
    with shared_system(
        tmp_path_factory.mktemp("soak"), config=catalogue(CHAINS, role=role), fresh=True
    ) as running:
        yield running


class Dialogues:
    """The results of all dialogues."""

    def __init__(self, system: System, client: Client) -> None:
        self._system = system
        self._client = client
        self._numbers = itertools.count()
        self.received: list[ReceivedReply] = []

    async def run(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            await self._one(next(self._numbers), until_s)

    async def _one(self, number: int, until_s: float) -> None:
        role = ASKED[number % len(ASKED)]
        history: list[dict[str, str]] = []
        for turn in range(TURNS):
            if time.monotonic() >= until_s:
                return
            history.append({"role": "user", "content": f"Dialogue {number}, turn {turn}: and then?"})
            received = await ask(self._client, list(history), role=role, stream=number % 2 == 0)
            self.received.append(received)
            if received.code is None:
                assert received.text
                history.append({"role": "assistant", "content": received.text})
            await asyncio.sleep(PAUSE_S)


async def inject_failures(system: System, until_s: float) -> None:
    """Make every model fail a tenth of its calls, and each half second another two models answer 429."""
    models = [model for chain in CHAINS.values() for model in chain]
    await system.sim("PUT", "behaviour", dict.fromkeys(models, "flaky=0.1"))
    for moment in itertools.count():
        dry = [models[(2 * moment + number) % len(models)] for number in range(2)]
        await system.sim("PUT", "behaviour", dict.fromkeys(dry, "429=0.3"))
        await asyncio.sleep(0.5)
        await system.sim("PUT", "behaviour", dict.fromkeys(dry, "flaky=0.1"))
        if time.monotonic() >= until_s:
            return


async def test_k7_fifty_dialogues_with_failing_models(system: System) -> None:
    await system.sim("PUT", "speed", {"first_token_ms": 30, "tokens_per_second": 400})
    processes = {"router": system.router, "worker": system.workers[0]}
    ends: Counter[str] = Counter()

    async def count(msg: Msg) -> None:
        if isinstance(read_event(msg), TERMINAL):
            ends[msg.subject.rpartition(".")[2]] += 1

    watching = await nats.connect(system.nats.url)
    await watching.subscribe("llm.reply.>", cb=count)
    await watching.flush()
    async with await system.client() as client:
        dialogues = Dialogues(system, client)
        until_s = time.monotonic() + DURATION_S
        running = [asyncio.create_task(dialogues.run(until_s)) for _ in range(DIALOGUES)]
        failing = asyncio.create_task(inject_failures(system, until_s))
        await asyncio.sleep(WARM_UP_S)
        before = {name: process.rss_mb() for name, process in processes.items()}
        await asyncio.gather(*running, failing)
    after = {name: process.rss_mb() for name, process in processes.items()}
    await watching.flush()
    await watching.close()

    codes = Counter(each.code for each in dialogues.received)
    errors = sum(number for code, number in codes.items() if code is not None)
    latencies = [each.took_s for each in dialogues.received]
    counts = (await system.sim("GET", "counts"))["models"].values()
    statuses = Counter[str]()
    for model in counts:
        statuses.update(model["errors"])
    growth = {name: round(after[name] - before[name], 1) for name in processes}
    report_figures(
        f"K7: {len(latencies)} requests, {errors} errors {dict(codes)}; p50 {percentile(latencies, 0.5):.2f} s, "
        f"p95 {percentile(latencies, 0.95):.2f} s, worst {max(latencies):.2f} s; the provider answered "
        f"{sum(model['ok'] for model in counts)} well, errors {dict(statuses)}; memory {after}, growth {growth} MB"
    )
    assert len(latencies) > 1000
    assert min(statuses["429"], statuses["503"]) > len(latencies) / 20  # the failures occurred
    assert errors < 0.03 * len(latencies)
    assert percentile(latencies, 0.95) <= 15
    assert ends == dict.fromkeys((each.id for each in dialogues.received), 1)
    assert max(growth.values()) < GROWTH_MB
    assert await simulator_answer(system, "chat-large", "still there?")
