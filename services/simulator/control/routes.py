"""The /sim routes: read the counts, change the behaviour."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.simulator.behaviour.model_names import UnknownBehaviourError
from services.simulator.http.errors import ApiError, invalid_request
from services.simulator.rate_limits.limiter import ModelLimits
from services.simulator.settings import Speed
from services.simulator.state import Hold, SimulatorState

__all__ = ["Control"]

Shape = TypeVar("Shape")


class _Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: list[str]


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accepted: frozenset[str]


class Control:
    """Each PUT answers with the values now in force, `keys` with their number. `models`, `keys` and `hold` replace all
    earlier values; the others change only the entries they name.
    """

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def counts(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return _json(self._state.counts.report())

    async def labels(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return _json(self._state.counts.labels())

    async def attempts(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return _json(self._state.counts.ended())

    async def last_request(self, request: Request) -> Response:
        body = self._state.last_requests.of(request.query_params.get("model", ""))
        if body is None:
            raise ApiError(404, "No request for that model was recorded.")
        return Response(body, media_type="application/json")

    async def reset(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        self._state.reset()
        return _json(self._state.counts.report())

    async def limits(self, request: Request) -> Response:
        changes = _read(await request.body(), dict[str, ModelLimits | None])
        return _json(self._state.rate_limiters.set_limits(changes))

    async def behaviour(self, request: Request) -> Response:
        behaviours = _read(await request.body(), dict[str, str])
        try:
            return _json(self._state.models.override(behaviours))
        except UnknownBehaviourError as error:
            raise invalid_request(str(error)) from None

    async def models(self, request: Request) -> Response:
        wanted = _read(await request.body(), _Models)
        self._state.models.serve(wanted.models)
        return _json({"models": self._state.models.listed()})

    async def keys(self, request: Request) -> Response:
        self._state.api_keys = _read(await request.body(), _Keys).accepted
        return _json({"accepted": len(self._state.api_keys)})

    async def speed(self, request: Request) -> Response:
        changes = _read(await request.body(), dict[str, float])
        merged = {**msgspec.to_builtins(self._state.speed), **changes}
        self._state.speed = _read(msgspec.json.encode(merged), Speed)
        return _json(self._state.speed)

    async def hold(self, request: Request) -> Response:
        self._state.hold = _read(await request.body(), Hold)
        return _json(self._state.hold)


def _read(body: bytes, shape: type[Shape] | Any) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise invalid_request(str(error)) from None


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
