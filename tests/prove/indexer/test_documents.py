"""H1, H5: 2,000 documents are paid once, a change only for what changed, and indexers may die at any moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock.client.client import Client
from penstock.contract.jobs import JOB_STATES
from penstock.contract.retrieval.documents import Document, IndexReport
from tests.harness.indexer.index_requests import (
    CHUNKS,
    MODEL,
    OTHER_MODEL,
    corpus,
    index,
    retrieval_catalogue,
    stored_chunks,
)
from tests.harness.processes.system import System, running_system
from tests.harness.requests.jobs import job_in_state
from tests.harness.suite.proofs import report_figures

DOCUMENTS = 2_000
CHANGED = 20
"""One in a hundred."""
AT_ONCE = 200
"""Documents of a request."""
ROUNDS = 12
KILLED_DOCUMENTS = 240
LATENCY_MS = 120


async def index_all(client: Client, documents: Sequence[Document], collection: str = "docs") -> IndexReport:
    """In several requests at once; the sums of their reports."""
    parts = [documents[start : start + AT_ONCE] for start in range(0, len(documents), AT_ONCE)]
    reports = await asyncio.gather(*(index(client, collection, documents=part) for part in parts))
    assert not any(report.refused for report in reports)
    names = ("indexed", "unchanged", "chunks", "changed", "embedded", "from_cache", "chunks_deleted")
    sums = {name: sum(getattr(report, name) for report in reports) for name in names}
    return IndexReport(collection=collection, **sums)


@pytest.mark.prove
async def test_h1_of_2000_documents_only_what_changed_is_embedded(tmp_path: Path):
    async with (
        running_system(tmp_path, "embed", config=retrieval_catalogue(), indexers=1) as system,
        await system.client(account="acme") as client,
    ):
        began_s = time.perf_counter()
        first = await index_all(client, corpus(range(DOCUMENTS)))
        first_s = time.perf_counter() - began_s
        assert first.chunks == first.embedded == await system.embedded_texts() == DOCUMENTS * CHUNKS

        attempts = await system.attempts()
        again = await index_all(client, corpus(range(DOCUMENTS)))
        assert (again.unchanged, again.embedded, again.from_cache) == (DOCUMENTS, 0, 0)
        assert await system.attempts() == attempts, "an unchanged corpus makes no provider call"

        changed = corpus(range(CHANGED), version=1) + corpus(range(CHANGED, DOCUMENTS))
        report = await index_all(client, changed)
        assert report.changed == report.embedded == report.chunks_deleted == CHANGED
        assert await system.embedded_texts() == DOCUMENTS * CHUNKS + CHANGED
        report_figures(
            f"{DOCUMENTS} documents, {first.chunks} chunks in {first_s:.1f} s; indexed again unchanged: no call; "
            f"{CHANGED} of them changed: {report.embedded} texts embedded"
        )


@pytest.mark.prove
async def test_h1_the_same_corpus_from_two_processes_at_once_is_paid_once(tmp_path: Path):
    async with (
        running_system(tmp_path, "embed", "embed", config=retrieval_catalogue(), indexers=2) as system,
        await system.client(account="acme") as one,
        await system.client(account="acme") as other,
    ):
        documents = corpus(range(DOCUMENTS // 2))
        reports = await asyncio.gather(
            index_all(one, documents),
            index_all(other, documents),
            index_all(one, documents, "copy"),
        )
        assert await system.embedded_texts() == len(documents) * CHUNKS
        assert sum(report.embedded for report in reports) == len(documents) * CHUNKS
        for report in reports:
            assert report.changed == report.embedded + report.from_cache
        for collection in ("docs", "copy"):
            assert await stored_chunks(one, collection) == {each.id: CHUNKS for each in documents}
        shares = ", ".join(f"{report.embedded} embedded and {report.from_cache} known" for report in reports)
        report_figures(f"{len(documents) * CHUNKS} texts three times at once: {shares}")


@pytest.mark.prove
async def test_h1_indexers_die_at_any_moment_and_the_store_is_what_was_asked_for(tmp_path: Path):
    dice = random.Random(20)
    env = {"PENSTOCK_MAX_DELIVER": "30"}
    async with (
        running_system(
            tmp_path, "embed,embed_other", config=retrieval_catalogue(), env=env, indexers=2
        ) as system,
        await system.client(account="acme") as client,
        await system.client(account="neighbour") as neighbour,
    ):
        await index(neighbour, documents=[Document(id="own", text="A text of the neighbour")])
        await system.sim("PUT", "speed", {"latency_ms": LATENCY_MS})
        wanted: dict[str, Document] = {}
        model, kills = MODEL, 0
        for number in range(ROUNDS):
            job, wanted, model = await _change(client, dice, number, wanted, model)
            await job_in_state(client, job, *JOB_STATES)
            while (await client.job(job)).state not in {"completed", "failed"}:
                await asyncio.sleep(dice.uniform(0, 1.5))
                if kills < (number + 1) * 2:
                    await _replace_one(system, dice)
                    kills += 1
            ended = await job_in_state(client, job, "completed", "failed", timeout_s=120)
            assert (ended.state, ended.error) == ("completed", None)
            assert await stored_chunks(client) == dict.fromkeys(wanted, CHUNKS)
            assert await stored_chunks(neighbour) == {"own": 1}
        await system.sim("PUT", "speed", {"latency_ms": 0})
        report = await index(client, documents=list(wanted.values()))
        assert (report.unchanged, report.changed) == (len(wanted), 0), "every document is in its last version"
        (status,) = await client.collections()
        assert (status.model, status.building) == (model, "")
        report_figures(f"{ROUNDS} changes, {kills} indexers killed; {len(wanted)} documents as asked for")


async def _change(
    client: Client, dice: random.Random, number: int, wanted: dict[str, Document], model: str
) -> tuple[str, dict[str, Document], str]:
    """Submit a change; returns its job, and what is wanted afterwards."""
    kind = ("index", "delete", "model", "drop")[number % 4]
    numbers = dice.sample(range(KILLED_DOCUMENTS), KILLED_DOCUMENTS // 2)
    changed = {each.id: each for each in corpus(numbers, version=number + 1)}
    if kind == "index" or not wanted:
        return await client.index("docs", documents=list(changed.values())), wanted | changed, model
    if kind == "delete":
        gone = dice.sample(sorted(wanted), len(wanted) // 3)
        kept = {id_: each for id_, each in wanted.items() if id_ not in gone}
        return await client.index("docs", delete=gone), kept, model
    if kind == "model":
        other = OTHER_MODEL if model == MODEL else MODEL
        return await client.index("docs", model=other), wanted, other
    return await client.index("docs", drop=True, documents=list(changed.values())), changed, MODEL


async def _replace_one(system: System, dice: random.Random) -> None:
    """Kill one of the two indexers, and start another."""
    system.indexers.pop(dice.randrange(len(system.indexers))).kill()
    system.indexers.append(system.new_indexer())
    await system.indexers[-1].start(90)
