"""Vectors of texts: `Client.embed`, and the result of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from penstock.bus.ids import new_id
from penstock.client.arguments import (
    check_choice,
    check_role_or_model,
    check_text,
    check_timeout,
    encoded_body,
)
from penstock.client.session import Session
from penstock.contract import codec
from penstock.contract.names import EMBED, LANES, Lane
from penstock.contract.reply import Completed, Delta, Failed, ReplyEvent, Restarted, Timings, Usage
from penstock.contract.request import EmbedRequest
from penstock.contract.retrieval.embeddings import FLOAT_BYTES, MAX_INPUTS
from penstock.errors import NoReply, ReplyIncomplete, RequestFailed

__all__ = ["EmbeddingMethods", "Embeddings", "EmbeddingsBuilder", "Inputs"]

Inputs = str | Iterable[str] | Sequence[int] | Iterable[Sequence[int]]
"""A text, texts, a text as tokens, or texts as tokens."""


class Embeddings(Struct, frozen=True, kw_only=True, dict=True):
    """The vectors of the texts of one request, in their order, and what they cost."""

    id: str
    data: bytes
    """Numbers of 32 bits (IEEE 754, little endian), vector after vector."""
    count: int
    dimensions: int
    space: str
    """Only vectors of one space and one number of dimensions can be compared."""
    model: str
    provider: str
    usage: Usage
    """Of the provider calls for this request; texts whose vectors were stored cost nothing."""
    estimated: bool = False
    """True when the provider omitted a count and `usage` is an estimate."""
    embedded: int = 0
    """Texts that a provider embedded for this request."""
    from_cache: int = 0
    """Texts whose vectors were stored."""
    joined: int = 0
    """Texts that another request was having embedded at the time, or that came before in this one."""
    cost_microusd: int
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price; above 0, the cost is not known, and `cost_microusd` is that
    of the other attempts."""
    timings: Timings

    @cached_property
    def vectors(self) -> list[memoryview[float]]:
        """The vectors without a copy, as sequences of floats: `vector.tolist()`, `numpy.asarray(vector)`."""
        numbers = memoryview(self.data)
        size = self.dimensions * FLOAT_BYTES
        return [numbers[start : start + size].cast("f") for start in range(0, size * self.count, size)]


class EmbeddingsBuilder:
    """Folds events into Embeddings."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytes] = {}
        """By the index of their first text."""

    def add(self, event: ReplyEvent) -> Embeddings | None:
        """The Embeddings once the event is `completed`, else None. Raises RequestFailed on `failed`, and
        ReplyIncomplete where vectors are missing.
        """
        match event:
            case Delta():
                for choice in event.choices:
                    block = codec.VECTOR_BLOCK.decode(choice)
                    self._blocks[block.first] = block.vectors
            case Restarted():
                self._blocks.clear()
            case Completed():
                return self._embeddings(event)
            case Failed():
                raise RequestFailed(event.id, event.error)
        return None

    def _embeddings(self, event: Completed) -> Embeddings:
        try:
            result = codec.EMBED_RESULT.decode(event.response)
        except codec.INVALID as error:
            raise ReplyIncomplete(f"the answer of request {event.id} has no vectors: {error}") from error
        size = result.dimensions * FLOAT_BYTES
        wanted = 0
        for first, block in sorted(self._blocks.items()):
            if first * size != wanted:
                break
            wanted += len(block)
        if wanted != size * result.texts:
            raise ReplyIncomplete(f"vectors of request {event.id} did not arrive: send it again")
        return Embeddings(
            id=event.id,
            data=b"".join([block for _, block in sorted(self._blocks.items())]),
            count=result.texts,
            dimensions=result.dimensions,
            space=result.space,
            model=event.model,
            provider=event.provider,
            usage=event.usage,
            estimated=event.estimated,
            embedded=result.embedded,
            from_cache=result.from_cache,
            joined=result.joined,
            cost_microusd=event.cost_microusd,
            unpriced_attempts=event.unpriced_attempts,
            timings=event.timings,
        )


class EmbeddingMethods(Session):
    """The part of a client that asks for vectors."""

    async def embed(  # noqa: PLR0913 - the keywords of the envelope, each with a default
        self,
        inputs: Inputs,
        *,
        model: str = "",
        role: str = EMBED,
        dimensions: int | None = None,
        user: str = "",
        lane: Lane = "interactive",
        timeout_s: float | None = None,
    ) -> Embeddings:
        """The vectors of up to 2,048 texts, or of texts as tokens. A text whose vector is stored costs nothing.

        `role` is an embedding role of the catalogue; `model`, in its place, one of its embedding models. `dimensions`
        shortens the vectors, where the model can; None: those of the model. `user` identifies your end user.
        `timeout_s` is at most an hour, in the batch lane a day; None: the deadline of the role.

        Raises RequestFailed, NotAccepted, RequestTooLarge, NoReply, ReplyIncomplete or ClientClosed, and ValueError for
        an argument that is not valid.
        """
        self._check_open()
        check_choice("lane", lane, LANES)
        check_timeout(timeout_s, lane)
        check_role_or_model(role, model, default=EMBED)
        check_text("user", user)
        body: dict[str, Any] = {"input": _checked(inputs)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        request = EmbedRequest(
            id=new_id(),
            client=self.name,
            body=msgspec.Raw(encoded_body(body)),
            role=role,
            model=model,
            lane=lane,
            user=user,
            timeout_s=timeout_s,
        )
        builder = EmbeddingsBuilder()
        for event in await self._streamed(request, timeout_s, cancel_on_exit=True).whole():
            if (found := builder.add(event)) is not None:
                return found
        raise NoReply(f"request {request.id} has no terminal event: send it again")


def _checked(inputs: object) -> Any:
    """As a text or a list. Raises ValueError for inputs that no model takes."""
    given: Any = inputs
    if not isinstance(inputs, str):
        if not isinstance(inputs, Iterable) or isinstance(inputs, bytes | bytearray):
            raise ValueError(f"inputs is {inputs!r}: use a text, texts, or texts as lists of tokens")  # noqa: TRY004 - one error for every wrong argument
        given = [each if isinstance(each, str | int) else list(each) for each in inputs]
    if not given:
        raise ValueError("inputs is empty: there is nothing to embed")
    if isinstance(given, str) or isinstance(given[0], int):
        return given
    if len(given) > MAX_INPUTS:
        raise ValueError(f"inputs has {len(given):,} texts: send at most {MAX_INPUTS:,} in one request")
    empty = next((index for index, each in enumerate(given) if each in ("", [])), None)
    if empty is not None:
        raise ValueError(f"inputs[{empty}] is empty: there is nothing to embed")
    return given
