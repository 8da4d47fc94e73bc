"""Where retrieval acts in the execution of a request: before a model is chosen, whose context it respects, and at the
end, where a turn of a conversation is remembered.
"""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.reply import Completed, Failed
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.model_chain import needs_of, order
from penstock.runtime.retrieval.reserved_tokens import reserved_tokens
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.state import Execution, GaveUp
from services.worker.retrieval.conversation import Conversation, read_conversation
from services.worker.retrieval.memory import Turn
from services.worker.retrieval.retriever import Retriever
from services.worker.retrieval.search_client import SearchRefused

__all__ = ["PassageRetrieval", "turn_of"]


class PassageRetrieval(Struct, frozen=True):
    catalogue: Catalogue
    retriever: Retriever | None
    """None: the catalogue has no section `retrieval`."""
    bodies: LargeBodies

    async def add(self, execution: Execution) -> None:
        """Find passages for the request, if it asks for some, and count them as part of its input. Raises GaveUp
        and Refused.
        """
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
        conversation = await self._conversation(execution)
        execution.waits_for = "passages were searched"
        try:
            retrieved = await self.retriever.retrieve(
                work, conversation, self._room_tokens(execution), execution.span, execution.guard
            )
        except SearchRefused as refused:
            raise GaveUp(refused.code, str(refused), refused.retry_after_s) from refused
        execution.waits_for = ""
        execution.retrieved = retrieved
        execution.size.input_tokens += retrieved.tokens
        execution.unreserved_tokens = max(0, retrieved.tokens - reserved)

    async def _conversation(self, execution: Execution) -> Conversation:
        """A body that is stored apart is in memory here only, and not during the search."""
        async with self.bodies.read(execution):
            try:
                return await in_thread_if_large(read_conversation, execution.work.body)
            except (ValueError, RecursionError) as error:
                raise GaveUp("invalid_request", f"the body cannot be read: {error}") from error

    def _room_tokens(self, execution: Execution) -> int:
        """Tokens that the request and its answer leave in the largest context of the models that can serve it.

        Passages are cut for it, never the conversation.
        """
        work, size, models = execution.work, execution.size, self.catalogue.models
        able = order(execution.role, models, work.complexity, needs_of(size.input_tokens, vision=work.vision))
        largest = max((models[key].context_tokens for key in able), default=0)
        return largest - size.input_tokens - size.output_tokens


def turn_of(execution: Execution, event: Completed | Failed) -> Turn | None:
    """What is remembered of the request, which ends in `event`; None: nothing is."""
    work, question, answer = execution.work, execution.retrieved.question, execution.answer_text
    if isinstance(event, Failed) or not (work.conversation and work.user and question and answer):
        return None
    if execution.guard is not None:
        question, answer = execution.guard.hidden(question), execution.guard.hidden(answer)
    return Turn(question, answer, event.attempt)
