"""G4, H1: a guard and an indexer that are stopped for 20 seconds under load lose and double nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from penstock.client.client import Client
from penstock.contract.retrieval.documents import Document
from penstock.errors import PenstockError
from tests.harness.guard.synthetic_values import synthetic
from tests.harness.indexer.index_requests import CHUNKS, corpus, retrieval_catalogue, stored_chunks
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.freezing import freeze
from tests.harness.processes.system import running_system
from tests.harness.records.attempt_audit import audit_attempts
from tests.harness.requests.replies import ask
from tests.harness.suite.proofs import report_figures

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]

FROZEN_S = 20.0
REQUESTS = 200
TIMEOUT_S = 150
ENV = {"PENSTOCK_ACK_WAIT_S": "10", "PENSTOCK_SLOTS": "64"}
EMAIL = synthetic("email", random.Random(4))
COLLECTIONS = 10
DOCUMENTS = 20
"""Of each collection."""
SEARCHES = 60


async def test_g4_a_guard_that_is_stopped_checks_every_request_once_it_continues(tmp_path: Path) -> None:
    """`wait_s` is longer than the freeze, so that no request is refused for want of a verdict."""
    config = catalogue(
        {"chat": ["m-chat"]}, guard={"input": {"personal_data": "redact"}, "wait_s": 2 * FROZEN_S}
    )
    async with (
        running_system(tmp_path, "chat", "chat", config=config, env=ENV) as system,
        await system.client() as client,
    ):
        guard = system.new_guard()
        await guard.start()
        await system.sim("PUT", "speed", {"tokens_per_second": 100, "first_token_ms": 100})
        asked = [asyncio.create_task(_ask(client, number)) for number in range(REQUESTS)]
        await asyncio.sleep(2.0)
        waiting = sum(not each.done() for each in asked)
        await freeze([guard.pid], FROZEN_S)
        ends = await asyncio.gather(*asked)
        audit = await audit_attempts(system, {request_id for request_id, _ in ends if request_id})
        metrics = "".join([await system.metrics(worker) for worker in system.workers])
        sent = str(await system.sim("GET", "last_request?model=m-chat"))
    codes = Counter(code for _, code in ends)
    report_figures(
        f"guard stopped for {FROZEN_S:g} s with {waiting} requests on their way: {dict(codes)}; {audit}"
    )
    assert waiting > REQUESTS / 2
    assert codes == {"completed": REQUESTS}
    audit.check()
    assert audit.made.total() == REQUESTS
    assert "penstock_worker_guard_unchecked_total{" not in metrics
    assert EMAIL not in sent


async def _ask(client: Client, number: int) -> tuple[str, str]:
    await asyncio.sleep(number * 0.03)
    prompt = f"Question {number} of {EMAIL}"
    try:
        received = await ask(client, prompt, role="chat", stream=number % 2 == 0, timeout_s=TIMEOUT_S)
    except PenstockError as error:
        return "", error.code
    return received.id, received.code or "completed"


async def test_h1_an_indexer_that_is_stopped_indexes_and_finds_everything_once_it_continues(
    tmp_path: Path,
) -> None:
    async with (
        running_system(tmp_path, config=retrieval_catalogue(), env=ENV, indexers=1) as system,
        await system.client(account="shop") as client,
    ):
        await _index(client, "known", 0)
        await system.sim("POST", "reset")
        await system.sim("PUT", "speed", {"latency_ms": 300})
        indexing = [
            asyncio.create_task(_index(client, f"docs-{number}", number + 1)) for number in range(COLLECTIONS)
        ]
        searching = [asyncio.create_task(_search(client, number)) for number in range(SEARCHES)]
        await asyncio.sleep(1.0)
        waiting = sum(not each.done() for each in indexing)
        await freeze([system.indexers[0].pid], FROZEN_S)
        woke_s = time.monotonic()
        indexed = Counter(await asyncio.gather(*indexing))
        found = Counter(await asyncio.gather(*searching))
        took_s = time.monotonic() - woke_s
        texts = await system.embedded_texts()
        stored = [await stored_chunks(client, f"docs-{number}") for number in range(COLLECTIONS)]
    report_figures(
        f"indexer stopped for {FROZEN_S:g} s with {waiting} of {COLLECTIONS} index requests on their way: "
        f"{dict(indexed)}; searches {dict(found)}; the last {took_s:.1f} s after the end; {texts} texts embedded"
    )
    assert waiting > 0
    assert indexed == {"completed": COLLECTIONS}
    assert found == {"found": SEARCHES}
    assert stored == [{each.id: CHUNKS for each in _corpus(n + 1)} for n in range(COLLECTIONS)]
    assert texts == COLLECTIONS * DOCUMENTS * CHUNKS + SEARCHES, "each text is paid once"


def _corpus(part: int) -> list[Document]:
    return corpus(range(part * DOCUMENTS, (part + 1) * DOCUMENTS))


async def _index(client: Client, collection: str, part: int) -> str:
    await asyncio.sleep(0.3 * part)
    try:
        await client.index_and_wait(collection, documents=_corpus(part), timeout_s=TIMEOUT_S)
    except PenstockError as error:
        return error.code
    return "completed"


async def _search(client: Client, number: int) -> str:
    await asyncio.sleep(0.3 * number)
    question = f"What does document {number % DOCUMENTS} say in part {number // DOCUMENTS}"
    try:
        answer = await client.search("known", question, timeout_s=TIMEOUT_S)
    except PenstockError as error:
        return error.code
    return "found" if answer.passages else "nothing"
