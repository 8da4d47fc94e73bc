"""The answer to one request, in the form of its dialect."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.reply import Completed
from services.edge.dialects.dialect import ChatCall, Dialect, SseEvent, StreamWriter
from services.edge.requests.answer_id import AnswerId

__all__ = ["Answer", "Surface"]


class Surface(Struct, frozen=True):
    """A dialect on its route."""

    dialect: Dialect
    prefix: str
    """How its ids begin."""
    path: str
    ping: SseEvent | None = None
    """Sent where a stream is silent for 10 s; None: it has comments only."""
    resume_query: str | None = ""
    """The query of the `GET` that resumes a stream; None: answers of this route cannot be read again."""


class Answer(Struct, frozen=True):
    surface: Surface
    id: AnswerId
    call: ChatCall

    @property
    def text_id(self) -> str:
        """The id that the application sees."""
        return self.id.text(self.surface.prefix)

    def whole(self, completed: Completed) -> bytes:
        return self.surface.dialect.whole(self.text_id, self.id.created_s, self.call, completed)

    def writer(self) -> StreamWriter:
        return self.surface.dialect.stream(self.text_id, self.id.created_s, self.call)

    @property
    def resume_path(self) -> str | None:
        """Where the stream can be read again; None: nowhere."""
        query = self.surface.resume_query
        return None if query is None else f"{self.surface.path}/{self.text_id}{query}"
