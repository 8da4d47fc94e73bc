"""H1: an indexer that is killed while it stores, deletes, compacts or purges leaves one version of each document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.indexer.store.tables import table_name
from tests.harness.indexer.killed_writers import kill_writers
from tests.harness.indexer.postgres_server import PostgresServer
from tests.harness.suite.proofs import report_figures

LANCEDB_KILLS, POSTGRESQL_KILLS = 15, 25
"""Of each series. Each starts a process, which takes 1.5 s of CPU with LanceDB: more would exceed the time limit on a
busy machine."""
SERIES = 2
"""At the same time, each in a table of its own."""


@pytest.fixture
def postgres() -> Iterator[str]:
    server = PostgresServer()
    server.start()
    yield server.url
    server.remove()


@pytest.mark.prove
@pytest.mark.timeout(280)
@pytest.mark.parametrize("purge_every", [0, 9])
async def test_h1_kills_leave_whole_versions_in_lancedb(tmp_path: Path, purge_every: int):
    await _prove("LanceDB", str(tmp_path / "store"), purge_every, LANCEDB_KILLS)


@pytest.mark.prove
@pytest.mark.timeout(280)
@pytest.mark.parametrize("purge_every", [0, 9])
async def test_h1_kills_leave_whole_versions_in_postgresql(postgres: str, purge_every: int):
    await _prove("PostgreSQL", postgres, purge_every, POSTGRESQL_KILLS)


async def _prove(name: str, url: str, purge_every: int, kills: int) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(
                kill_writers(
                    url,
                    table_name("acme", f"kills-{number}", 1),
                    kills=kills,
                    seed=number,
                    purge_every=purge_every,
                )
            )
            for number in range(SERIES)
        ]
    written = [task.result() for task in tasks]
    report_figures(
        f"H1: {name}, purge every {purge_every}: {SERIES * kills} kills, {sum(written)} versions whole"
    )
    assert min(written) > kills
