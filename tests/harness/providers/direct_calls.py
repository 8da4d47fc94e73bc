"""Calls that the worker makes without an SDK, which it does from the third call on."""

from __future__ import annotations

from typing import Any

from services.worker.providers.sdk import SdkProvider
from tests.harness.providers.scripted_provider import ScriptedProvider, head, whole

__all__ = ["begin_direct_calls"]


async def begin_direct_calls(provider: ScriptedProvider, endpoint: SdkProvider) -> None:
    """Have the SDK make its two calls; a further one is an error."""
    answer, provider.answer = (
        provider.answer,
        lambda _: (head(content_type="application/json"), whole("warm")),
    )
    for number in range(2):
        response = await endpoint.chat("KEY", b'{"model":"m"}', f"warm.{number}")
        async for _ in response.pieces():
            pass
        await response.close()
    provider.answer = answer
    provider.encodings.clear()

    async def post(*_: Any, **__: Any) -> None:
        raise AssertionError("the SDK makes a call that it made before")

    endpoint._clients["KEY"].post = post
