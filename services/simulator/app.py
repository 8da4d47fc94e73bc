"""The composition root: constructs and connects everything."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.simulator.control.routes import Control
from services.simulator.handlers import Chat, Embeddings, Models, Moderations, health
from services.simulator.http.errors import ApiError
from services.simulator.model_calls import Endpoint, ModelCalls
from services.simulator.settings import Settings
from services.simulator.state import SimulatorState

__all__ = ["build"]

_PREFIXES: Final = ("/v1", "/openai/v1")
"""Path prefixes of the model endpoints; Groq's SDK appends /openai/v1 to its base URL."""


def build(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
) -> ASGIApp:
    state = SimulatorState(settings, clock, wall_clock, run_id=secrets.token_hex(4))
    model_calls = ModelCalls(state)
    plain = _plain_routes(Models(state), Control(state))
    endpoints: dict[str, Endpoint[Any]] = {
        "/chat/completions": Chat(),
        "/embeddings": Embeddings(),
        "/moderations": Moderations(),
    }
    hot = {prefix + path: endpoint for prefix in _PREFIXES for path, endpoint in endpoints.items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The model endpoints bypass Starlette, whose routing costs more than a whole chat answer.
        endpoint = hot.get(scope["path"])
        if endpoint is not None and scope["method"] == "POST":
            await model_calls.handle(endpoint, scope, receive, send)
        else:
            await plain(scope, receive, send)

    return app


def _plain_routes(models: Models, control: Control) -> Starlette:
    routes = [Route("/health", health)]
    for prefix in _PREFIXES:
        routes += [
            Route(prefix + "/models", models.list_all),
            Route(prefix + "/models/{id:path}", models.get),
        ]
    routes += [
        Route("/sim/counts", control.counts),
        Route("/sim/labels", control.labels),
        Route("/sim/attempts", control.attempts),
        Route("/sim/last_request", control.last_request),
        Route("/sim/reset", control.reset, methods=["POST"]),
        Route("/sim/limits", control.limits, methods=["PUT"]),
        Route("/sim/behaviour", control.behaviour, methods=["PUT"]),
        Route("/sim/models", control.models, methods=["PUT"]),
        Route("/sim/keys", control.keys, methods=["PUT"]),
        Route("/sim/speed", control.speed, methods=["PUT"]),
        Route("/sim/hold", control.hold, methods=["PUT"]),
    ]
    return Starlette(routes=routes, exception_handlers={ApiError: _api_error, HTTPException: _http_exception})


async def _api_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    if not isinstance(error, ApiError):
        raise error
    return Response(error.body(), error.status, media_type="application/json")


async def _http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    unknown = ApiError(error.status_code, f"{error.detail}: {request.method} {request.url.path}")
    return Response(unknown.body(), unknown.status, media_type="application/json")
