"""The texts of all requests of this worker: identical ones are joined, and those without a vector are embedded."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Lane, Role
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.retrieval.vectors import has_direction
from services.worker.embedding.batch import BatchRunner
from services.worker.embedding.gatherer import Gatherer
from services.worker.embedding.known_vectors import KnownVectors
from services.worker.embedding.other_workers import OtherWorkers
from services.worker.embedding.request import Text, WaitingRequest
from services.worker.embedding.token_shares import tokens_of
from services.worker.embedding.vector_claims import VectorClaims
from services.worker.intake.hand_back import HandBackPolicy

__all__ = ["SharedTexts"]

_CALLS: Final = 4
"""Calls of one role, lane and number of dimensions at once, for a model without a limit of concurrent calls."""
_MOST_CALLS: Final = 64


class _Group(Struct, frozen=True):
    """Texts that may share a provider call."""

    role: Role
    lane: Lane
    dimensions: int


class SharedTexts:
    def __init__(
        self,
        catalogue: Catalogue,
        batches: BatchRunner,
        known: KnownVectors,
        claims: VectorClaims,
        hand_back: HandBackPolicy,
    ) -> None:
        self._catalogue = catalogue
        self._batches = batches
        self._known = known
        self._others = OtherWorkers(
            claims,
            known.store,
            lambda role: hand_back.possible(role, loop_now_s()),
            self._arrived,
            self._embed_after_all,
        )
        self._finding = 0
        """Requests whose known vectors are being read."""
        self._gatherers: dict[_Group, Gatherer] = {}
        self._texts: dict[str, Text] = {}
        """Being embedded or waiting for it, by key."""

    def start(self) -> None:
        self._known.start()
        self._others.start()

    async def stop(self) -> None:
        """End the calls in flight, and store what is left to store."""
        for gatherer in tuple(self._gatherers.values()):
            await gatherer.stop()
        await self._others.stop()
        await self._known.stop()

    async def find(self, request: WaitingRequest) -> None:
        """Give the request the vectors that are known, and have the others embedded; `request.done` is set once it has
        all of them, or has failed.
        """
        self._finding += 1
        try:
            missing = await self._known.find(request, self._texts)
        finally:
            self._finding -= 1
        if missing:
            self._wait_for(request, set(missing))
        request.finish_if_complete()

    def leave(self, request: WaitingRequest) -> None:
        """The request waits for nothing any more; attempts in flight are recorded as cancelled."""
        request.done.cancel()
        request.leave()
        for text in request.missing:
            if not text.requests and not text.sent:
                self._forget(text)
        self._batches.attempts.give_up(request)

    def _wait_for(self, request: WaitingRequest, missing: set[str]) -> None:
        work = request.execution.work
        added: list[Text] = []
        tokens = tokens_of(request.texts, work.estimated_tokens)
        for key, content, estimated in zip(request.keys, request.texts, tokens, strict=True):
            if key not in missing:
                continue
            missing.discard(key)
            text = self._texts.get(key)
            if text is None:
                text = self._texts[key] = Text(key, content, estimated, work.store)
                added.append(text)
            elif work.lane == "interactive" and not text.sent:
                added.append(text)  # it may wait behind the reserve of the batch lane
            text.requests.append(request)
            request.missing.append(text)
        if added:
            self._add(_group(request), request, added)

    def _add(self, group: _Group, request: WaitingRequest, texts: list[Text]) -> None:
        work = request.execution.work
        self._gatherer(group).add(f"{work.account}\0{work.user}", texts)

    def _gatherer(self, group: _Group) -> Gatherer:
        gatherer = self._gatherers.get(group)
        if gatherer is None:
            for idle in [each for each, one in self._gatherers.items() if one.is_idle]:
                del self._gatherers[idle]
            chain = self._catalogue.all_roles[group.role].chain
            limits = [self._catalogue.models[model].limits.concurrency for model in chain]
            learned = self._batches.calls.learned
            gatherer = self._gatherers[group] = Gatherer(
                partial(self._send, group),
                lambda: learned.batch_size(chain, group.dimensions, loop_now_s()),
                max(min(_MOST_CALLS, limit or _CALLS) for limit in limits),
                lambda: self._finding > 0,
            )
        return gatherer

    async def _send(self, group: _Group, batch: list[Text]) -> None:
        own = batch
        try:
            own = await self._others.claim(group.role, batch)
            await self._batches.run(own, self._ended)
        finally:
            left = [text for text in own if self._texts.get(text.key) is text]
            for text in left:
                self._forget(text)
                if text.requests:  # joined at a moment at which the batch had given it up
                    self._embed_after_all(text)
            await self._others.release(
                batch
            )  # also where the batch failed: the claims would be renewed for ever

    def _ended(self, text: Text, vector: bytes | None) -> None:
        self._forget(text)
        if vector is not None:
            self._others.embedded(text.key)
            if text.kept:
                self._known.keep(text.key, vector)

    def _arrived(self, text: Text, vector: bytes) -> bool:
        """Another worker has embedded it; False: the vector is not one of this text."""
        if any(len(vector) != request.dimensions * FLOAT_BYTES for request in text.requests):
            return False
        if not has_direction(vector):
            return False
        self._forget(text)
        self._known.remember(text.key, vector)
        for request in tuple(text.requests):
            request.found[text.key] = vector
            request.counts.stored += 1
            request.finish_if_complete()
        return True

    def _embed_after_all(self, text: Text) -> None:
        """The text has lost its batch, or the worker that embedded it."""
        if not text.requests:
            self._forget(text)
            return
        text.sent = False
        self._texts[text.key] = text
        request = text.requests[0]
        self._add(_group(request), request, [text])

    def _forget(self, text: Text) -> None:
        """The vector is known, or will not be."""
        if self._texts.get(text.key) is text:
            del self._texts[text.key]


def _group(request: WaitingRequest) -> _Group:
    work = request.execution.work
    return _Group(work.role, work.lane, request.dimensions)
