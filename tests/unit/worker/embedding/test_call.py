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

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def pieces(self) -> AsyncIterator[bytes]:
        for each in self._pieces:
            yield each

    async def close(self) -> None:
        return


class Limit(CallLimit):
    length_s = 5.0

    def __init__(self) -> None:
        self._until_s = loop_now_s() + self.length_s

    def ends_s(self) -> float:
        return self._until_s


class Provider:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def embeddings(self, *_: object) -> Response:
        return Response(self._pieces)

    def redact_keys(self, _: ProviderFailure) -> None:
        return


def _calls(*pieces: bytes) -> EmbeddingCalls:
    loaded = load_catalogue(
        catalogue({"embed": ("m",)}, models={"m": {"embedding": {"dimensions": 2, "shortens": True}}}),
        source="test",
        env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
    )
    return EmbeddingCalls(loaded, cast("Any", {"m": Provider(list(pieces))}), LearnedLimits(loaded))


async def test_d6_an_answer_that_is_too_large_is_malformed() -> None:
    calls = _calls(*[b" " * 10_000] * 100)
    with pytest.raises(ProviderFailure, match="more than") as raised:
        await calls.make(BatchCall(QuotaKey("", "m"), ["text"], 2, Limit(), "label"), Progress())
    assert raised.value.kind == "malformed"


async def test_d6_a_vector_that_is_zero_once_shortened_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LearnedLimits, "leaves_out", lambda *_: True)
    shortened = await _calls(b'{"data":[{"embedding":[-3.0,4.0]}]}').make(
        BatchCall(QuotaKey("", "m"), ["text"], 1, Limit(), "label"), Progress()
    )
    assert memoryview(shortened.vectors[0]).cast("f").tolist() == [-1.0]
    with pytest.raises(ProviderFailure, match="vector 0 is zero") as raised:
        await _calls(b'{"data":[{"embedding":[0.0,1.0]}]}').make(
            BatchCall(QuotaKey("", "m"), ["text"], 1, Limit(), "label"), Progress()
        )
    assert raised.value.kind == "unclear"
