"""H2: a claim whose acknowledgement is late stays the claim of its worker."""

from __future__ import annotations

from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.bus import direct_get
from penstock.contract.retrieval import subjects
from penstock.contract.streams import EMBEDDINGS
from services.worker.embedding.vector_claims import VectorClaims


async def sequence_of(nc: Nats, key: str) -> int:
    (message,) = await direct_get.read_last(nc, EMBEDDINGS.name, [subjects.embedding(key)])
    return direct_get.sequence_of(message)


async def with_late_acknowledgement(nc: Nats, monkeypatch: pytest.MonkeyPatch, call: Any) -> Any:
    """What `call` returns while messages are stored and their acknowledgements come too late."""
    request = nc.request

    async def late(*arguments: Any, **options: Any) -> Any:
        await request(*arguments, **options)
        raise nats.errors.TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(nc, "request", late)
        return await call()


async def test_h2_a_claim_with_a_late_acknowledgement_is_renewed(
    provisioned: Nats, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, peer = VectorClaims(provisioned, "one"), VectorClaims(provisioned, "other")
    assert await claims.take({unique: 0}) == frozenset()
    await with_late_acknowledgement(provisioned, monkeypatch, claims._renew_once)
    seen = await sequence_of(provisioned, unique)
    await claims._renew_once()
    assert await sequence_of(provisioned, unique) > seen
    assert await peer.take({unique: seen}) == {unique}


async def test_h2_a_text_that_was_claimed_with_a_late_acknowledgement_is_not_lost(
    provisioned: Nats, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = VectorClaims(provisioned, "one")

    async def take() -> frozenset[str]:
        return await claims.take({unique: 0})

    assert await with_late_acknowledgement(provisioned, monkeypatch, take) == frozenset()
    seen = await sequence_of(provisioned, unique)
    await claims._renew_once()
    assert await sequence_of(provisioned, unique) > seen
    assert await claims.take({unique: 0}) == frozenset()  # it has the claim already
    await claims.release([unique])
    assert (
        await VectorClaims(provisioned, "other").take({unique: await sequence_of(provisioned, unique)})
        == frozenset()
    )
