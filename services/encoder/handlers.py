"""The routes: a request to the queue and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.encoder.encoding_queue import EncodingQueue
from services.encoder.errors import ApiError, model_not_found
from services.encoder.metrics import EncoderMetrics
from services.encoder.model import Vectors, finished
from services.encoder.request import DIMENSIONS, MODEL, EmbeddingsRequest, answer, decode
from services.encoder.settings import EncoderSettings

__all__ = ["Embeddings", "Metrics", "health", "model", "models"]

_CLIENT_CLOSED: Final = 499
_DISCARD_S: Final = 2.0
_MODEL: Final = {"id": MODEL, "object": "model", "created": 0, "owned_by": "penstock"}


class Embeddings:
    def __init__(self, queue: EncodingQueue, settings: EncoderSettings, metrics: EncoderMetrics) -> None:
        self._queue = queue
        self._settings = settings
        self._metrics = metrics

    async def create(self, request: Request) -> Response:
        began_s = time.monotonic()
        try:
            response = await self._response(request)
        except ApiError as error:
            response = _error(error)
        except ClientDisconnect:
            response = Response(status_code=_CLIENT_CLOSED)
        self._metrics.requests.labels(str(response.status_code)).inc()
        self._metrics.duration.observe(time.monotonic() - began_s)
        return response

    async def _response(self, request: Request) -> Response:
        asked = decode(await self._body(request))
        means = await self._encoded(request, asked.texts)
        self._metrics.texts.inc(len(asked.texts))
        self._metrics.characters.inc(sum(map(len, asked.texts)))
        body = await asyncio.to_thread(_finish, asked, means)
        return Response(body, media_type="application/json")

    async def _body(self, request: Request) -> bytes:
        """Raises ApiError for a body that is too large or too slow."""
        limit = self._settings.body_bytes
        length = request.headers.get("content-length", "0")
        parts = request.stream()
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.read_s):
                if length.isdecimal() and int(length) <= limit:
                    async for part in parts:
                        body += part
                        if len(body) > limit:
                            break
                    else:
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, "The body did not arrive in time.") from None
        await _discard(parts)
        raise ApiError(413, f"The body has more than {limit} bytes.")

    async def _encoded(self, request: Request, texts: list[str]) -> Vectors:
        """Raises ClientDisconnect as soon as the client has gone; its work is dropped."""
        encoding = asyncio.ensure_future(self._queue.means(texts))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({encoding, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not encoding.done():
                raise ClientDisconnect
            return encoding.result()
        finally:
            encoding.cancel()
            gone.cancel()


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def show(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


async def models(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
    return _json({"object": "list", "data": [_MODEL]})


async def model(request: Request) -> Response:
    name = request.path_params["id"]
    return _json(_MODEL) if name == MODEL else _error(model_not_found(name, MODEL))


def health(is_alive: Callable[[], bool]) -> Callable[[Request], Response]:
    """200 while texts are encoded."""

    def show(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
        return Response("ok\n" if is_alive() else "the encoding has ended\n", 200 if is_alive() else 503)

    return show


async def _discard(parts: AsyncGenerator[bytes, None]) -> None:
    """A client that still sends would see its connection reset, and not the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            async for _ in parts:
                pass


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _finish(asked: EmbeddingsRequest, means: Vectors) -> bytes:
    vectors = finished(means, asked.dimensions or DIMENSIONS)
    return answer(asked, [memoryview(vector.tobytes()) for vector in vectors])


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _error(error: ApiError) -> Response:
    return Response(error.body(), error.status, error.headers, "application/json")
