"""The composition root: constructs and connects everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from penstock.runtime.aio import cancel_and_wait
from services.encoder.encoding_queue import Encode, EncodingQueue
from services.encoder.errors import ApiError
from services.encoder.handlers import Embeddings, Metrics, health, model, models
from services.encoder.metrics import EncoderMetrics
from services.encoder.settings import EncoderSettings

__all__ = ["build"]


def build(settings: EncoderSettings, encode: Encode, registry: CollectorRegistry) -> ASGIApp:
    """The application; its lifespan runs the encoding."""
    metrics = EncoderMetrics(registry)
    queue = EncodingQueue(encode, settings.queue_characters)
    metrics.queued.set_function(lambda: queue.characters)
    embeddings = Embeddings(queue, settings, metrics)
    encoding: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        encoding.append(asyncio.create_task(queue.run(), name="encoding"))
        yield
        await cancel_and_wait(encoding[0])

    is_healthy = health(lambda: bool(encoding) and not encoding[0].done())
    return Starlette(
        routes=[
            Route("/v1/embeddings", embeddings.create, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{id:path}", model),
            Route("/healthz", is_healthy),
            Route("/health", is_healthy),
            Route("/metrics", Metrics(registry).show),
        ],
        exception_handlers={HTTPException: _http_exception, Exception: _failure},
        lifespan=lifespan,
    )


async def _http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    unknown = ApiError(error.status_code, f"{error.detail}: {request.method} {request.url.path}")
    return Response(unknown.body(), unknown.status, error.headers, "application/json")


async def _failure(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    failed = ApiError(500, "The texts could not be encoded.", kind="server_error")
    return Response(failed.body(), failed.status, media_type="application/json")
