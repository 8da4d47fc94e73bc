"""One PostgreSQL server with pgvector for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.indexer.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.url
