"""Where retrieval acts in the execution of a request: before a model is chosen, so that its context is respected."""

from __future__ import annotations

from msgspec import Struct

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.model_chain import needs_of, order
from penstock.runtime.retrieval.reserved_tokens import reserved_tokens
from penstock.runtime.retrieval.search_client import SearchRefused
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.state import Execution, GaveUp
from services.worker.retrieval.retriever import Retriever

__all__ = ["Retrieval"]


class Retrieval(Struct, frozen=True):
    catalogue: Catalogue
    retriever: Retriever | None
    """None: the catalogue has no section `retrieval`."""
    bodies: LargeBodies

    async def add(self, execution: Execution) -> None:
        """Find passages for the request, if it asks for some, and count them as part of its input. Raises GaveUp."""
        work = execution.work
        if self.retriever is None:
            if work.rag is not None and work.rag.required:
                message = "the catalogue of the worker has no section `retrieval`: add it, or send no `rag`"
                raise GaveUp("retrieval_unavailable", message)
            return
        reserved = reserved_tokens(work, self.catalogue.retrieval)
        if not reserved:
            return
        execution.size.input_tokens = max(1, execution.size.input_tokens - reserved)
        async with self.bodies.read(execution):
            execution.waits_for = "passages were searched"
            try:
                retrieved = await self.retriever.retrieve(
                    work, execution.work.body, self._room_tokens(execution), execution.span.traceparent
                )
            except SearchRefused as refused:
                raise GaveUp(refused.code, str(refused), refused.retry_after_s) from refused
            except (ValueError, RecursionError) as error:
                raise GaveUp("invalid_request", f"the body cannot be read: {error}") from error
        execution.waits_for = ""
        execution.retrieved = retrieved
        execution.size.input_tokens += retrieved.tokens
        execution.unreserved_tokens = max(0, retrieved.tokens - reserved)

    def _room_tokens(self, execution: Execution) -> int:
        """Tokens that the request and its answer leave in the largest context of the models that can serve it.

        Passages are cut for it, never the conversation.
        """
        work, size, models = execution.work, execution.size, self.catalogue.models
        able = order(execution.role, models, work.complexity, needs_of(size.input_tokens, vision=work.vision))
        largest = max((models[key].context_tokens for key in able), default=0)
        return largest - size.input_tokens - size.output_tokens
