"""Which store an address means."""

from __future__ import annotations

from penstock.bus.clock import SYSTEM, Clock
from services.indexer.store.interface import Store

__all__ = ["open_store"]


async def open_store(url: str, clock: Clock = SYSTEM) -> Store:
    """`postgresql://…`: a server; else LanceDB in a directory, or in an object store (`s3://bucket/path`, `gs://…`,
    `az://…`), with credentials from the environment. `clock`: by which all indexers agree.

    Raises StoreUnavailable.
    """
    # Each adapter loads its own libraries when it is opened, and only then.
    if url.startswith(("postgresql://", "postgres://")):
        from services.indexer.store.postgres.store import PostgresStore

        server = PostgresStore(url, clock)
        await server.open()
        return server
    from services.indexer.store.lancedb.store import LanceStore

    embedded = LanceStore(url, clock)
    await embedded.open()
    return embedded
