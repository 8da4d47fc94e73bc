"""One embeddings call to a provider: the body, the call within its time limit, and the vectors."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.retrieval import Embedding
from penstock.runtime.retrieval.embedding_key import EmbeddingText
from penstock.runtime.retrieval.vectors import vector_length
from services.worker.embedding.answer import Vectors, check_directions, read_vectors
from services.worker.embedding.batch_deadline import CallLimit, timeout_when
from services.worker.embedding.learned import LearnedLimits, Parameter
from services.worker.execution.provider_call import CALL_ERRORS, Progress, raise_failure
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.wire_errors import BrokenStream, MalformedReply
from services.worker.providers.provider import Provider, Response
from services.worker.providers.size_limits import read_into
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["BatchCall", "EmbeddingCalls"]

_BYTES_PER_NUMBER: Final = 26
"""The longest number as text, with what stands around it."""
_BYTES_PER_VECTOR: Final = 256
"""What stands around the numbers of one vector."""
_ENVELOPE_BYTES: Final = 64 * 1024


class _Request(Struct, omit_defaults=True):
    model: str
    input: Sequence[EmbeddingText]
    encoding_format: str | None = None
    dimensions: int | None = None


_encode: Final = msgspec.json.Encoder().encode


class BatchCall(Struct, frozen=True):
    key: QuotaKey
    texts: Sequence[EmbeddingText]
    dimensions: int
    limit: CallLimit
    label: str
    """Names the call to the provider."""


class EmbeddingCalls(Struct, frozen=True):
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    """The provider of each model."""
    learned: LearnedLimits

    async def make(self, call: BatchCall, progress: Progress) -> Vectors:
        """The vectors of the texts. Raises ProviderFailure; of the kind `parameter` where a repeated call will leave
        out what was refused.
        """
        model = call.key.model
        request, asked = self._request(call)
        sent: list[Parameter] = [name for name in ("encoding_format", "dimensions") if getattr(request, name)]
        try:
            vectors = await self._call(call, _encode(request), asked, progress)
        except ProviderFailure as failure:
            if self.learned.learn_parameter(model, failure, sent, loop_now_s()):
                raise ProviderFailure("parameter", str(failure), status=failure.status) from failure
            raise
        if vectors.as_floats and "encoding_format" in sent:
            self.learned.learn_floats(model, loop_now_s())
        return vectors

    def _request(self, call: BatchCall) -> tuple[_Request, int]:
        """What to send, and the dimensions of the vectors that will come."""
        model, now_s = call.key.model, loop_now_s()
        embedding = _embedding_of(self.catalogue, model)
        base64 = not self.learned.leaves_out(model, "encoding_format", now_s)
        request = _Request(self.catalogue.model_name(model), call.texts, "base64" if base64 else None)
        if call.dimensions == embedding.dimensions:
            return request, call.dimensions
        if self.learned.leaves_out(model, "dimensions", now_s):
            return request, embedding.dimensions
        request.dimensions = call.dimensions
        return request, call.dimensions

    async def _call(self, call: BatchCall, body: bytes, dimensions: int, progress: Progress) -> Vectors:
        provider = self.providers[call.key.model]
        count = len(call.texts)
        limit_bytes = _ENVELOPE_BYTES + count * (dimensions * _BYTES_PER_NUMBER + _BYTES_PER_VECTOR)
        received = bytearray()
        began_s = loop_now_s()
        try:
            async with timeout_when(call.limit.ends_s):
                response = await provider.embeddings(call.key.credential, body, call.label)
                progress.headers, progress.status = response.headers, response.status
                try:
                    if part := response.headers.get("content-range"):
                        raise BrokenStream(f"the response is a part of an answer: {part}")
                    await _read(received, response, limit_bytes)
                finally:
                    await response.close()
            progress.ended_s = loop_now_s()
            return _shortened(read_vectors(bytes(received), count, dimensions), dimensions, call.dimensions)
        except TimeoutError as error:
            late = ProviderFailure("too_slow", f"no complete answer within {call.limit.length_s:g} s")
            late.__cause__ = error
            raise_failure(late, provider, progress, began_s)
        except CALL_ERRORS as error:
            raise_failure(error, provider, progress, began_s)


async def _read(received: bytearray, response: Response, limit_bytes: int) -> None:
    """Vectors have a known size: an answer of more bytes is the provider's error, and not that of a text."""
    try:
        await read_into(received, response.pieces(), limit_bytes, "the answer")
    except ProviderFailure as failure:
        if failure.kind != "oversized":
            raise
        raise MalformedReply(str(failure)) from failure


def _embedding_of(catalogue: Catalogue, model: str) -> Embedding:
    embedding = catalogue.models[model].embedding
    if embedding is None:
        raise ValueError(f"{model} is not an embedding model")
    return embedding


def _shortened(vectors: Vectors, dimensions: int, wanted: int) -> Vectors:
    """With the first numbers of each, scaled to the length 1: what models that shorten their vectors do themselves.

    Raises as `check_directions`, where the first numbers have none.
    """
    if dimensions == wanted:
        return vectors
    first = [each[: wanted * FLOAT_BYTES] for each in vectors.vectors]
    check_directions(first)
    return msgspec.structs.replace(vectors, vectors=[_scaled(each) for each in first])


def _scaled(vector: bytes) -> bytes:
    length = vector_length(vector)
    return array("f", [each / length for each in memoryview(vector).cast("f")]).tobytes()
