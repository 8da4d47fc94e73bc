"""The other model endpoints, and the plain routes beside them."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from services.simulator.answers.embeddings import default_dimensions, embed, encode_base64
from services.simulator.answers.moderation import moderate
from services.simulator.http.delivery import deliver
from services.simulator.http.errors import model_not_found
from services.simulator.http.exchange import bearer
from services.simulator.http.replies import break_body
from services.simulator.http.requests import EmbeddingsRequest, ModerationsRequest, Prompt, decode, read_texts
from services.simulator.ladder import Call
from services.simulator.provider import Provider

__all__ = ["Embeddings", "Models", "Moderations", "health"]


class Embeddings:
    unsaid_answer_tokens = 0

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(EmbeddingsRequest)

    def decode(self, body: bytes) -> EmbeddingsRequest:
        return decode(self._decoder, body)

    def subject(self, request: EmbeddingsRequest) -> object:
        return request.input

    def measure(self, request: EmbeddingsRequest) -> Prompt:
        return read_texts(request.input)

    async def respond(self, call: Call, request: EmbeddingsRequest) -> None:
        texts = [request.input] if isinstance(request.input, str) else request.input
        dimensions = request.dimensions or default_dimensions(call.name.base)
        vectors = [embed(text, dimensions) for text in texts]
        if request.encoding_format == "base64":
            encoded: list[str] | list[list[float]] = [encode_base64(vector) for vector in vectors]
        else:
            encoded = vectors
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(encoded)]
        tokens = call.attempt.prompt_tokens = call.prompt.tokens
        body = msgspec.json.encode(
            {
                "object": "list",
                "data": [] if call.behaviour.kind == "empty" else data,
                "model": call.name.full,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )
        await deliver(call, break_body(body, call.behaviour), tokens=0)


class Moderations:
    unsaid_answer_tokens = 0

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(ModerationsRequest)

    def decode(self, body: bytes) -> ModerationsRequest:
        return decode(self._decoder, body)

    def subject(self, request: ModerationsRequest) -> object:
        return request.input

    def measure(self, request: ModerationsRequest) -> Prompt:
        return read_texts(request.input)

    async def respond(self, call: Call, request: ModerationsRequest) -> None:
        texts = [request.input] if isinstance(request.input, str) else request.input
        call.attempt.prompt_tokens = call.prompt.tokens
        results = [] if call.behaviour.kind == "empty" else [moderate(text) for text in texts]
        reply = {"id": f"modr-{call.attempt.request_id}", "model": call.name.full, "results": results}
        await deliver(call, break_body(msgspec.json.encode(reply), call.behaviour), tokens=0)


class Models:
    """GET /v1/models and /v1/models/{id}."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def list_all(self, request: Request) -> Response:
        self._provider.authorise(bearer(request.headers.raw))
        models = [_model(name) for name in self._provider.catalogue.listed()]
        return Response(
            msgspec.json.encode({"object": "list", "data": models}), media_type="application/json"
        )

    async def get(self, request: Request) -> Response:
        self._provider.authorise(bearer(request.headers.raw))
        name = request.path_params["id"]
        if name not in self._provider.catalogue.listed():
            raise model_not_found(name)
        return Response(msgspec.json.encode(_model(name)), media_type="application/json")


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}


async def health(request: Request) -> Response:  # noqa: ARG001 - Starlette hands it over
    return Response(status_code=204)
