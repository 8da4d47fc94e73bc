"""What every dialect of the edge provides. A dialect is a wire format: its requests become chat-completions bodies,
and its answers are made from reply events. No dialect does I/O or reads a clock.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, Self

from msgspec import Meta, Raw, Struct

from penstock.contract.errors import ERRORS
from penstock.contract.reply import Completed, Delta, Failure, Started
from penstock.contract.retrieval.search import Rag

__all__ = [
    "AnswerError",
    "ChatCall",
    "Dialect",
    "DialectRoute",
    "InvalidField",
    "ModelName",
    "SseEvent",
    "StreamWriter",
    "retrieval_fields",
]

ModelName = Annotated[
    str,
    Meta(
        description="`auto` or another `id` of `GET /v1/models`; a role also with a complexity: `coding:simple`.",
        examples=["auto"],
    ),
]
"""The field `model` of a request."""


class InvalidField(Exception):
    """The request cannot be translated: status 400, in the error shape of the dialect."""

    def __init__(self, field: str, message: str) -> None:
        """`field` is a path such as `input[2].content`; `message` says what to write instead."""
        super().__init__(message)
        self.field = field
        self.message = message


class ChatCall(Struct, frozen=True, kw_only=True):
    """A request, translated."""

    body: Raw
    """The OpenAI chat-completions body; in the chat dialect the bytes as received."""
    model: str
    """As the application wrote it: `auto`, a role, one of them with a complexity (`coding:simple`), or a model."""
    stream: bool = False
    include_usage: bool = False
    user: str = ""
    rag: Rag | None = None
    """The field `rag`, which is not in `body`. Only in the chat dialect."""
    conversation: str = ""
    """Likewise."""
    background: bool = False
    """Only in the Responses dialect: the request is a job."""


class SseEvent(Struct, frozen=True):
    """One server-sent event."""

    data: bytes
    """One line of JSON, or `[DONE]`."""
    event: str = ""
    """The `event:` field; empty: there is none."""


class AnswerError(Struct, frozen=True):
    """An error as a dialect shows it, as a response or at the end of a stream."""

    code: str
    """Of the edge or of the contract."""
    message: str
    status: int
    """That of a response with this error."""
    categories: tuple[str, ...] = ()
    """Why the safety guard blocked the request or its answer."""

    @classmethod
    def of(cls, failure: Failure) -> Self:
        status = ERRORS[failure.code].http_status
        return cls(failure.code, failure.message, status, failure.categories)


class StreamWriter(Protocol):
    """The events of one streamed answer, in order.

    Deterministic: the same reply events give the same server-sent events with the same numbers, so that a resumed
    stream is the whole stream without its first events.
    """

    def accept(self, model: str) -> list[SseEvent]:
        """Called once, when the request is known to be accepted, before everything else. `model`: the role or the
        model, as far as it is known.
        """
        ...

    def begin(self, started: Started) -> list[SseEvent]:
        """Called once, before the first delta or before the end."""
        ...

    def delta(self, delta: Delta) -> list[SseEvent]: ...

    def complete(self, completed: Completed) -> list[SseEvent]: ...

    def fail(self, error: AnswerError) -> list[SseEvent]:
        """An error event of the dialect, and nothing that looks like a proper end."""
        ...


class Dialect(Protocol):
    """One wire format."""

    def read(self, body: bytes) -> ChatCall:
        """Translate the body of a request. Raises InvalidField."""
        ...

    def whole(self, answer_id: str, created_s: int, call: ChatCall, completed: Completed) -> bytes:
        """The body of a whole answer, from `completed.response`. `answer_id` is the id that the application sees."""
        ...

    def stream(self, answer_id: str, created_s: int, call: ChatCall) -> StreamWriter: ...

    def error(self, error: AnswerError, param: str | None = None) -> bytes:
        """The JSON body of a response with this error; `param`: the field or header that it is about."""
        ...


def retrieval_fields(completed: Completed) -> dict[str, Any]:
    """What the model was given besides the request, and what the safety guard kept from it: fields that an answer has
    in every dialect, where there is any.
    """
    fields = {
        "citations": completed.citations,
        "recalled": completed.recalled,
        "left_out": completed.left_out,
    }
    return {name: value for name, value in fields.items() if value}


LimitHeaderStyle = Literal["openai", "anthropic"]
"""Whose names the headers about limits have."""


class DialectRoute(Struct, frozen=True):
    """A dialect on its route."""

    dialect: Dialect
    prefix: str
    """How its ids begin."""
    path: str
    ping: SseEvent | None = None
    """Sent where a stream is silent for 10 s; None: it has comments only."""
    resume_query: str | None = ""
    """The query of the `GET` that resumes a stream; None: answers of this route cannot be read again."""
    is_for_jobs: bool = False
    """Its requests are jobs: in the batch lane, and not streamed."""
    limit_headers: LimitHeaderStyle = "openai"
