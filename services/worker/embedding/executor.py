"""Embed requests: each waits for the vectors of its texts, which are embedded together with those of other requests.

Within the deadline → read the body → have its texts checked → take the vectors that are known → wait for the others →
publish them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from penstock.bus.clock import loop_now_s
from penstock.contract.names import LANES, Lane
from penstock.contract.reply import Usage
from penstock.contract.retrieval.embeddings import FLOAT_BYTES, VECTOR_BLOCK_BYTES, EmbedResult, VectorBlock
from penstock.runtime.byte_budget import FairByteBudget
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.retrieval.embed_body import EmbedBody, InvalidEmbedBody, read_embed_body
from penstock.runtime.retrieval.embedding_key import EmbeddingKeys, EmbeddingText
from services.worker.embedding.metrics import TextCounters
from services.worker.embedding.request import WaitingRequest
from services.worker.embedding.shared_texts import SharedTexts
from services.worker.execution.attempt import Success
from services.worker.execution.delta_sink import JoinedDelta
from services.worker.execution.guarding import given_up
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.provider_call import Answer
from services.worker.execution.selection import Selection
from services.worker.execution.state import Execution, GaveUp, no_room
from services.worker.guard.embed_guard import EmbedGuard, EmbedGuards
from services.worker.guard.guard_checks import Refused

__all__ = ["EmbeddingExecutor"]

_VECTOR_BYTES: Final = 128 * 1024 * 1024
"""Bytes of vectors of all requests of a lane that are gathered at once; further requests wait, and users take turns."""
_HELD_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the bodies of requests, those included that are stored apart, from which on no more requests are pulled."""
_FINISH_REASON: Final = "stop"


class EmbeddingExecutor:
    def __init__(
        self,
        catalogue: Catalogue,
        bodies: LargeBodies,
        selection: Selection,
        texts: SharedTexts,
        counters: TextCounters,
        guards: EmbedGuards | None = None,
    ) -> None:
        """`guards`: None if the catalogue has no guard."""
        self._catalogue = catalogue
        self._bodies = bodies
        self._selection = selection
        self._texts = texts
        self._counters = counters
        self._guards = guards
        self._held_bytes = 0
        self._budgets: Mapping[Lane, FairByteBudget] = {lane: FairByteBudget(_VECTOR_BYTES) for lane in LANES}

    @property
    def is_full(self) -> bool:
        """The requests in this worker have so many texts that no more are to be pulled."""
        return self._held_bytes >= _HELD_BYTES

    async def execute(self, execution: Execution) -> Success:
        """Raises GaveUp with the error for the application."""
        too_late = self._selection.deadline_passed
        execution.chain = execution.role.chain
        execution.first_choice = execution.chain[0]
        if execution.deadline_s <= loop_now_s():
            raise too_late(execution, "while the request waited in its mailbox")
        ref = execution.work.body_ref
        size = len(execution.work.body) if ref is None else ref.size
        self._held_bytes += size
        try:
            async with asyncio.timeout_at(execution.deadline_s) as timer:
                return await self._embed(execution)
        except TimeoutError as error:
            if not timer.expired():
                raise  # a store did not answer: the mailbox delivers the message again
            if execution.reply.waits_for_room:
                raise no_room() from error
            when = f"while {execution.waits_for}" if execution.waits_for else "before all texts were embedded"
            raise too_late(execution, when) from error
        finally:
            self._held_bytes -= size

    async def _embed(self, execution: Execution) -> Success:
        guard = None if self._guards is None else self._guards.of(execution.work, execution.span.traceparent)
        request = await self._read(execution, guard)
        size = request.distinct * request.dimensions * FLOAT_BYTES
        work = execution.work
        async with self._budgets[work.lane].hold(size, f"{work.account}\0{work.user}"):
            try:
                await self._texts.find(request)
                await request.done
            except asyncio.CancelledError:
                request.note_cause()
                raise
            finally:
                self._texts.leave(request)
            await _publish(request)
            return self._success(request, guard)

    async def _read(self, execution: Execution, guard: EmbedGuard | None) -> WaitingRequest:
        """Its texts are those that may leave. Raises GaveUp."""
        async with self._bodies.read(execution):
            try:
                body = read_embed_body(execution.work.body)
            except InvalidEmbedBody as error:
                raise GaveUp("invalid_request", str(error)) from error
        dimensions = self._dimensions(execution, body)
        texts = body.texts if guard is None else await _checked(execution, body.texts, guard)
        keys = EmbeddingKeys(self._catalogue.vector_space(execution.chain[0]), dimensions).of_all(texts)
        if not execution.work.store:
            keys = [
                f"{key}/{execution.work.reply_to.subject}" for key in keys
            ]  # so that no other request joins it
        return WaitingRequest(
            execution=execution,
            keys=keys,
            texts=texts,
            distinct=len(set(keys)),
            dimensions=dimensions,
            done=asyncio.get_running_loop().create_future(),
        )

    def _dimensions(self, execution: Execution, body: EmbedBody) -> int:
        model = execution.chain[0]
        embedding = self._catalogue.models[model].embedding
        if embedding is None:
            raise GaveUp("invalid_request", f"{model} is not an embedding model")
        whole = embedding.dimensions
        if body.dimensions is None or body.dimensions == whole:
            return whole
        if not embedding.shortens or body.dimensions > whole:
            most = f"at most {whole:,}" if embedding.shortens else f"only {whole:,}"
            message = f"dimensions is {body.dimensions:,}, and the vectors of {model} have {most}"
            raise GaveUp("invalid_request", message)
        return body.dimensions

    def _success(self, request: WaitingRequest, guard: EmbedGuard | None) -> Success:
        execution, counts = request.execution, request.counts
        execution.hold_is_open = not request.hold_ended
        model = request.model or execution.chain[0]
        texts, from_cache = len(request.keys), counts.memory + counts.stored
        self._counters.count(request, model)
        result = EmbedResult(
            texts=texts,
            dimensions=request.dimensions,
            space=self._catalogue.vector_space(model),
            tokens=counts.tokens,
            embedded=counts.embedded,
            from_cache=from_cache,
            joined=texts - counts.embedded - from_cache,
        )
        answer = Answer(
            finish_reason=_FINISH_REASON,
            response_id=None,
            model=None,
            usage=Usage(input_tokens=counts.tokens),
            estimated=counts.estimated,
        )
        return Success(
            model,
            self._catalogue.models[model].provider,
            answer,
            None,
            guarded=() if guard is None else guard.guarded(),
            unchecked=() if guard is None else guard.unchecked(),
            response=Raw(msgspec.json.encode(result)),
        )


async def _checked(
    execution: Execution, texts: Sequence[EmbeddingText], guard: EmbedGuard
) -> Sequence[EmbeddingText]:
    execution.waits_for = "the safety guard checked the request"
    try:
        return await guard.checked(texts)
    except Refused as refused:
        raise given_up(refused) from refused
    finally:
        execution.waits_for = ""


async def _publish(request: WaitingRequest) -> None:
    """All vectors, in blocks."""
    execution = request.execution
    history = execution.history
    if history.output_sent:
        await execution.reply.restarted("provider_unavailable", "the worker stopped responding")
    vectors = [request.found[key] for key in request.keys]
    per_block = max(1, VECTOR_BLOCK_BYTES // (request.dimensions * FLOAT_BYTES))
    history.output_sent = True
    output: list[JoinedDelta] = []
    for first in range(0, len(vectors), per_block):
        block = VectorBlock(first=first, vectors=b"".join(vectors[first : first + per_block]))
        choices = (Raw(msgspec.json.encode(block)),)
        await execution.reply.wait_for_room(len(choices[0]))
        await execution.reply.delta("", choices)
        output.append(JoinedDelta("", choices))
    if execution.work.lane == "batch":
        execution.batch_output = tuple(output)
