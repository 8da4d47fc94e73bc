"""Reply subscriptions of accounts: kept while a request uses them, and only the latest unused ones afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.bus.connection import ConnectionEvents
from services.indexer.embedding import embed_requests
from services.indexer.embedding.embed_requests import EmbedRequests


class _Subscription:
    def __init__(self, open_: set[str], subject: str) -> None:
        self._open, self._subject = open_, subject
        open_.add(subject)

    async def unsubscribe(self) -> None:
        self._open.discard(self._subject)


class _Bus:
    def __init__(self) -> None:
        self.nc = self
        self.is_closed = False
        self.connection_events = ConnectionEvents()
        self.open: set[str] = set()

    async def subscribe(self, subject: str, **_: Any) -> _Subscription:
        return _Subscription(self.open, subject)


async def test_h1_subscriptions_of_accounts_that_ask_no_more_are_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed_requests, "_MOST_SUBSCRIPTIONS", 2)
    bus = _Bus()
    requests = EmbedRequests(bus, "indexer", None)  # type: ignore[arg-type]
    async with requests._subscription("busy") as busy:
        for number in range(5):
            async with requests._subscription(f"a{number}"):
                assert any(".busy." in subject for subject in bus.open)
        assert len(bus.open) == 2
        async with requests._subscription("busy") as again:
            assert again is busy
    async with requests._subscription("last"):
        assert len(bus.open) == len(bus.connection_events._listeners) == 2
        assert any(".last." in subject for subject in bus.open)
