"""D1, D3, F2: processes that are stopped under load, each kind in turn, lose and double nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.client.client import Client
from penstock.errors import PenstockError
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.client_process import client_process, prompt_of
from tests.harness.processes.freezing import freeze
from tests.harness.processes.system import System, running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.requests.replies import ask, simulator_answer
from tests.harness.suite.proofs import report_figures
from tests.harness.suite.waiting import until

pytestmark = [pytest.mark.prove, pytest.mark.timeout(400)]

FROZEN_S = 20.0
LONG_S = 65.0
"""Longer than connections last without an answer, and than most calls are repeated, which is 60 s. Shorter than the
edge waits for a router (60 s and 10 s of grace): a request that was stored just before the freeze is not given up."""
TIMEOUT_S = 240
REQUESTS = 200
OVER_HTTP = 20
ANSWERED = 0.99
"""Least share of the accepted requests, all within their deadlines, that must be answered."""
CONFIG = catalogue(
    {"chat": ["m-chat"]},
    role={
        "timeouts": {"first_token_s": 8, "between_tokens_s": 4, "non_streaming_s": 15, "total_s": TIMEOUT_S}
    },
    budgets={
        "ledger_wait_s": 30,
        "when_price_unknown": "count_tokens",
        "accounts": {"default": {"tokens_per_day": 10**12}},
    },
)
"""The limits of a call are shorter than the freeze."""
ENV = {"PENSTOCK_ACK_WAIT_S": "10", "PENSTOCK_SLOTS": "64"}
WORKERS = ("chat", "chat")


@pytest.mark.parametrize(
    ("frozen", "frozen_s"),
    [
        *((name, FROZEN_S) for name in ("workers", "one worker", "router", "ledger", "edge", "nats-server")),
        ("everything", FROZEN_S),
        ("nats-server", LONG_S),
    ],
)
async def test_d1_stopped_under_load(tmp_path: Path, frozen: str, frozen_s: float) -> None:
    async with (
        running_system(tmp_path, *WORKERS, config=CONFIG, env=ENV, ledgers=1) as system,
        await system.client() as client,
    ):
        edge = system.new_edge()
        await edge.start()
        await system.sim("PUT", "speed", {"tokens_per_second": 25, "first_token_ms": 300})
        asked = [asyncio.create_task(_ask(client, number)) for number in range(REQUESTS)]
        over_http = [
            asyncio.create_task(_ask_over_http(edge.ready["url"], number)) for number in range(OVER_HTTP)
        ]
        await asyncio.sleep(3.0)
        in_flight = sum(not each.done() for each in (*asked, *over_http))
        await freeze(_pids(system, edge.pid)[frozen], frozen_s)
        woke_s = time.monotonic()
        ends = await asyncio.gather(*asked)
        statuses = Counter(await asyncio.gather(*over_http))
        took_s = time.monotonic() - woke_s
        audit = await audit_attempts(system, {request_id for request_id, _ in ends if request_id})
        open_breakers = await _open_breakers(system)
    codes = Counter(code for _, code in ends)
    report_figures(
        f"{frozen} stopped for {frozen_s:g} s with {in_flight} requests on their way: over NATS {dict(codes)}, over "
        f"HTTP {dict(statuses)}, the last {took_s:.1f} s after the end; {audit}; open breakers: {len(open_breakers)}"
    )
    assert in_flight > REQUESTS / 4
    assert codes["completed"] >= ANSWERED * REQUESTS
    # The edge refuses what NATS does not accept within 20 s.
    not_accepted = statuses[503] if frozen in {"nats-server", "everything"} else 0
    assert statuses[200] >= ANSWERED * (OVER_HTTP - not_accepted) > 0
    assert open_breakers == []
    audit.check()
    if frozen != "one worker":  # another one calls again for what it held
        assert audit.made.total() == len(ends)


async def test_d1_an_application_that_is_stopped_reads_its_replies_whole(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, *WORKERS, config=CONFIG, env=ENV, ledgers=1) as system,
        client_process(system.nats.url) as application,
    ):
        expected = [await simulator_answer(system, "m-chat", prompt_of(each)) for each in range(REQUESTS)]
        await system.sim("POST", "reset")
        await system.sim("PUT", "speed", {"tokens_per_second": 25, "first_token_ms": 300})
        asking = asyncio.create_task(application.ask(REQUESTS, TIMEOUT_S))
        await until(lambda: _called(system, REQUESTS // 4))
        await freeze([application.pid], FROZEN_S)
        received = await asking
        calls = await system.attempts("m-chat")
    whole = sum(text == wanted for text, wanted in zip(received["texts"], expected, strict=True))
    report_figures(
        f"an application stopped for {FROZEN_S:g} s with {REQUESTS} requests on their way: {received['ends']}, "
        f"{whole} whole, {calls} calls"
    )
    assert received["ends"] == {"completed": REQUESTS}
    assert whole == calls == REQUESTS


async def _called(system: System, number: int) -> bool:
    return await system.attempts("m-chat") >= number


async def _ask(client: Client, number: int) -> tuple[str, str]:
    """The id of a request and the code of its end; without an id where it was not accepted."""
    await asyncio.sleep(number * 0.03)
    try:
        received = await ask(
            client, f"Question {number}", role="chat", stream=number % 2 == 0, timeout_s=TIMEOUT_S
        )
    except PenstockError as error:
        return "", error.code
    return received.id, received.code or "completed"


async def _ask_over_http(url: str, number: int) -> int:
    await asyncio.sleep(number * 0.2)
    body = chat_body(f"Question {number}", model="chat")
    answer = await request("POST", f"{url}/v1/chat/completions", body, timeout_s=TIMEOUT_S)
    return answer.status


def _pids(system: System, edge: int) -> dict[str, list[int]]:
    assert isinstance(system.nats, NatsServer)
    assert system.nats.pid is not None
    workers, ledgers = ([each.pid for each in some] for some in (system.workers, system.ledgers))
    return {
        "workers": workers,
        "one worker": workers[:1],
        "router": [system.router.pid],
        "ledger": ledgers,
        "edge": [edge],
        "nats-server": [system.nats.pid],
        "everything": [system.nats.pid, system.router.pid, edge, *workers, *ledgers],
    }


async def _open_breakers(system: System) -> list[str]:
    lines = "".join([await system.metrics(worker) for worker in system.workers]).splitlines()
    return [
        each for each in lines if each.startswith("penstock_breaker_state{") and not each.endswith(" 0.0")
    ]
