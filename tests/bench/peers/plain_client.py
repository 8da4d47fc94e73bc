"""The client that asks all gateways over HTTP: aiohttp, without an SDK, with connections that stay open."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from tests.bench.subjects import PROMPT

__all__ = ["PlainClient"]


class PlainClient:
    def __init__(
        self, session: aiohttp.ClientSession, url: str, model: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """`url`: with /v1."""
        self._session = session
        self._url = f"{url}/chat/completions"
        self._headers = headers
        self._body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 5000,
        }

    async def whole(self) -> None:
        async with self._session.post(self._url, json=self._body, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            body = await answer.json()
        assert body["choices"][0]["finish_reason"] == "stop", body
