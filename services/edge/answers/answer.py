"""The answer to one request, in the form of its dialect."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.contract.reply import Completed
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.dialects.dialect import ChatCall, DialectRoute, StreamWriter
from services.edge.requests.answer_id import AnswerId

__all__ = ["Answer"]


class Answer(Struct, frozen=True):
    route: DialectRoute
    id: AnswerId
    call: ChatCall

    @property
    def text_id(self) -> str:
        """The id that the application sees."""
        return self.id.text(self.route.prefix)

    def whole(self, completed: Completed) -> bytes:
        return self.route.dialect.whole(self.text_id, self.id.created_s, self.call, completed)

    def new_facts(self, clock: Clock) -> ReplyFacts:
        """For the headers of the response."""
        answer_id = None if self.resume_path is None else self.text_id
        return ReplyFacts(self.id.request_id, answer_id, self.route.limit_headers, clock)

    def writer(self) -> StreamWriter:
        return self.route.dialect.stream(self.text_id, self.id.created_s, self.call)

    @property
    def resume_path(self) -> str | None:
        """Where the stream can be read again; None: nowhere."""
        query = self.route.resume_query
        return None if query is None else f"{self.route.path}/{self.text_id}{query}"
