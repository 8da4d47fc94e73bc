"""D6: what a provider sends is never the fault of a text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.load import load_catalogue
from services.worker.embedding.batch_deadline import CallLimit
from services.worker.embedding.call import BatchCall, EmbeddingCalls
from services.worker.embedding.learned import LearnedLimits
from services.worker.execution.provider_call import Progress
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.rate_limit.quota import QuotaKey
from tests.harness.processes.catalogues import catalogue


class Response:
    status, headers = 200, {}

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    async def close(self) -> None:
        return


class Limit(CallLimit):
    length_s = 5.0

    def __init__(self) -> None:
        self._until_s = loop_now_s() + self.length_s

    def ends_s(self) -> float:
        return self._until_s


class Provider:
    async def embeddings(self, *_: object) -> Response:
        return Response()

    def redact_keys(self, _: ProviderFailure) -> None:
        return


async def test_d6_an_answer_that_is_too_large_is_malformed() -> None:
    loaded = load_catalogue(
        catalogue({"embed": ("m",)}, models={"m": {"embedding": {"dimensions": 2}}}),
        source="test",
        env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
    )
    calls = EmbeddingCalls(loaded, cast("Any", {"m": Provider()}), LearnedLimits(loaded))
    with pytest.raises(ProviderFailure, match="more than") as raised:
        await calls.make(BatchCall(QuotaKey("", "m"), ["text"], 2, Limit(), "label"), Progress())
    assert raised.value.kind == "malformed"
