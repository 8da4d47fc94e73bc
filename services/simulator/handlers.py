"""The model endpoints, and the plain routes beside them."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.simulator.answers.chat import DEFAULT_TOKENS, Answer, compose
from services.simulator.answers.embeddings import (
    FLOATS,
    NO_BASE64,
    NO_DIMENSIONS,
    POISON,
    default_dimensions,
    embed,
    encode_base64,
    input_limit,
)
from services.simulator.answers.moderation import moderate
from services.simulator.answers.replies import (
    Ending,
    Head,
    WholeScript,
    break_body,
    script_stream,
    script_whole,
)
from services.simulator.answers.requests import (
    CompletionRequest,
    EmbeddingsRequest,
    ModerationsRequest,
    StreamOptions,
)
from services.simulator.behaviour.token_schedule import TokenSchedule
from services.simulator.http.errors import ApiError, invalid_request, model_not_found, unsupported_parameter
from services.simulator.http.exchange import JSON, SSE, bearer_key
from services.simulator.model_calls import ModelCall
from services.simulator.state import SimulatorState

__all__ = ["Chat", "Embeddings", "Models", "Moderations", "health"]

_NO_OPTIONS = StreamOptions()
_HOLD_POLL_S = 0.01


class Chat:
    default_answer_tokens = DEFAULT_TOKENS
    decoder = msgspec.json.Decoder(CompletionRequest)

    async def respond(self, call: ModelCall, request: CompletionRequest) -> None:
        call.attempt.prompt_tokens = call.prompt.tokens
        # The fingerprint covers only the messages, so that the answer depends on no other option than the seed.
        seed = int(call.attempt.sha256[:12], 16) + (request.seed or 0)
        answers = [
            compose(call.name.base, request, call.prompt, seed + choice) for choice in range(request.n or 1)
        ]
        if request.stream:
            await _stream(call, answers, request.stream_options or _NO_OPTIONS)
        else:
            await _whole(call, answers)


class Embeddings:
    default_answer_tokens = 0
    decoder = msgspec.json.Decoder(EmbeddingsRequest)

    async def respond(self, call: ModelCall, request: EmbeddingsRequest) -> None:
        dimensions = request.dimensions or default_dimensions(call.name.base)
        _refuse(call, request)
        call.attempt.text_hashes = tuple([hash((text, dimensions)) for text in request.texts])
        vectors = [embed(text, dimensions) for text in request.texts]
        if request.encoding_format == "base64" and FLOATS not in call.name.base:
            encoded: list[str] | list[list[float]] = [encode_base64(vector) for vector in vectors]
        else:
            encoded = vectors
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(encoded)]
        tokens = call.attempt.prompt_tokens = call.prompt.tokens
        call.attempt.texts = len(request.texts)
        body = msgspec.json.encode(
            {
                "object": "list",
                "data": [] if call.behaviour.kind == "empty" else data,
                "model": call.name.full,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )
        await _deliver(call, break_body(body, call.behaviour), tokens=0)


def _refuse(call: ModelCall, request: EmbeddingsRequest) -> None:
    """Raises ApiError for what the model does not take."""
    if any(POISON in text for text in request.texts):
        raise invalid_request("'input' contains an input that cannot be embedded.", "input")
    if NO_BASE64 in call.name.base and request.encoding_format == "base64":
        raise unsupported_parameter("encoding_format")
    if NO_DIMENSIONS in call.name.base and request.dimensions is not None:
        raise unsupported_parameter("dimensions")
    limit = input_limit(call.name.base)
    if limit is not None and len(request.texts) > limit:
        raise ApiError(413, f"batch size {len(request.texts)} > maximum allowed batch size {limit}")


class Moderations:
    default_answer_tokens = 0
    decoder = msgspec.json.Decoder(ModerationsRequest)

    async def respond(self, call: ModelCall, request: ModerationsRequest) -> None:
        call.attempt.prompt_tokens = call.prompt.tokens
        results = [moderate(text, images) for text, images in request.inputs]
        reply = {
            "id": f"modr-{call.attempt.request_id}",
            "model": call.name.full,
            "results": [] if call.behaviour.kind == "empty" else results,
        }
        await _deliver(call, break_body(msgspec.json.encode(reply), call.behaviour), tokens=0)


class Models:
    """GET /v1/models and /v1/models/{id}."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def list_all(self, request: Request) -> Response:
        self._state.authorise(bearer_key(request.headers.raw))
        models = [_model(name) for name in self._state.models.listed()]
        return Response(
            msgspec.json.encode({"object": "list", "data": models}), media_type="application/json"
        )

    async def get(self, request: Request) -> Response:
        self._state.authorise(bearer_key(request.headers.raw))
        name = request.path_params["id"]
        if name not in self._state.models.listed():
            raise model_not_found(name)
        return Response(msgspec.json.encode(_model(name)), media_type="application/json")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}


async def health(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
    return Response(status_code=204)


def _head(call: ModelCall) -> Head:
    behaviour = call.behaviour
    return Head(
        id="chatcmpl-" + call.attempt.request_id.removeprefix("req_"),
        model=call.name.full,
        created_s=int(call.attempt.at_s),
        prompt_tokens=call.prompt.tokens,
        style=call.state.header_style,
        cached_tokens=int(call.prompt.tokens * behaviour.value) if behaviour.kind == "cached" else 0,
    )


async def _whole(call: ModelCall, answers: list[Answer]) -> None:
    script = script_whole(_head(call), answers, call.behaviour)
    await _deliver(call, script, tokens=sum(answer.tokens for answer in answers))


async def _stream(call: ModelCall, answers: list[Answer], options: StreamOptions) -> None:
    exchange, attempt, clock, label = call.exchange, call.attempt, call.state.clock, call.exchange.label
    script = script_stream(_head(call), answers, call.behaviour, include_usage=options.include_usage)
    schedule = TokenSchedule.start(call.state.speed, call.behaviour, clock())
    attempt.stream = True
    await exchange.start(200, SSE)
    if schedule.first_at_s > clock():
        await exchange.pause(schedule.first_at_s - clock())
    for event in script.opening:
        await exchange.write(event)
    for index, event in enumerate(script.tokens):
        await exchange.pause(schedule.due_s(index) - clock() if schedule.per_token_s else 0)
        while call.state.holds(label, index):
            await exchange.pause(_HOLD_POLL_S)
        await exchange.write(event)
        attempt.completion_tokens += 1
    for event in script.closing:
        await exchange.pause(0)
        await exchange.write(event)
    await _end_stream(call, script.ending)


async def _deliver(call: ModelCall, script: WholeScript, tokens: int) -> None:
    """Send a whole reply when its last token is due; a client that disconnects earlier is charged the tokens
    generated until then.
    """
    exchange, attempt, state = call.exchange, call.attempt, call.state
    schedule = TokenSchedule.start(state.speed, call.behaviour, state.clock())
    wait_s = schedule.due_s(max(0, tokens - 1)) - state.clock()
    if call.behaviour.kind == "slow-first-token":
        await exchange.start(200, JSON, len(script.body))
    if wait_s > 0:
        try:
            await exchange.pause(wait_s)
        finally:
            attempt.completion_tokens = schedule.generated(tokens, state.clock())
    while state.holds(exchange.label, tokens):
        await exchange.pause(_HOLD_POLL_S)
    attempt.completion_tokens = tokens
    if exchange.status is None:
        await exchange.start(200, JSON, len(script.body))
    await exchange.write(script.body[: script.sent], more=script.sent < len(script.body))
    if script.ending in ("ok", "broken"):
        attempt.outcome = "ok" if script.ending == "ok" else "broken"
    else:
        await _break_off(call, script.ending)


async def _end_stream(call: ModelCall, ending: Ending) -> None:
    """End the response after its last event, as `ending` prescribes."""
    if ending in ("ok", "broken"):
        await call.exchange.write(b"", more=False)
        call.attempt.outcome = "ok" if ending == "ok" else "broken"
    else:
        await _break_off(call, ending)


async def _break_off(call: ModelCall, ending: Ending) -> None:
    if ending == "stall":
        await call.exchange.silence()
    await call.exchange.cut()
    call.attempt.outcome = "broken"
