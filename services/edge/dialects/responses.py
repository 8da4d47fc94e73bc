"""The dialect of OpenAI's Responses API (`POST /v1/responses`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from penstock.contract.reply import Completed, Delta, Failure
from services.edge.dialects.chat_choices import choice_of_completion
from services.edge.dialects.dialect import AnswerError, ChatCall, Dialect
from services.edge.dialects.responses_object import ResponseObject, Status
from services.edge.dialects.responses_request import ResponsesCall, read_request
from services.edge.dialects.responses_stream import ResponsesStream

__all__ = ["ResponsesDialect"]

_NOTHING: Final[Mapping[str, Raw]] = {}
_IN_BACKGROUND: Final[Mapping[str, Raw]] = {"background": Raw(b"true"), "store": Raw(b"true")}
_encode: Final = msgspec.json.Encoder().encode


class ResponsesDialect(Dialect):
    """Only a ResponsesCall has the fields that the response repeats; those of another ChatCall stand as absent."""

    def read(self, body: bytes) -> ResponsesCall:
        return read_request(body)

    def whole(self, answer_id: str, created_s: int, call: ChatCall, completed: Completed) -> bytes:
        stream = self.stream(answer_id, created_s, call)
        stream.add(choice_of_completion(completed.response))
        return _encode(stream.finish(completed))

    def assembled(
        self, answer_id: str, created_s: int, call: ChatCall, deltas: Iterable[Delta], completed: Completed
    ) -> bytes:
        """The body of the whole answer, where it was streamed."""
        stream = self.stream(answer_id, created_s, call)
        for delta in deltas:
            stream.delta(delta)
        return _encode(stream.finish(completed))

    def unfinished(self, answer_id: str, created_s: int, call: ChatCall, status: Status) -> bytes:
        """The body of a response that has no answer yet: queued or in progress."""
        return _encode(_response(answer_id, created_s, call).state(status, call.model))

    def failed(self, answer_id: str, created_s: int, call: ChatCall, failure: Failure) -> bytes:
        """The body of a response that has ended without an answer: failed or cancelled."""
        response = _response(answer_id, created_s, call)
        if failure.code == "cancelled":
            return _encode(response.state("cancelled", call.model))
        return _encode(response.state("failed", call.model, error=AnswerError.of(failure)))

    def stream(self, answer_id: str, created_s: int, call: ChatCall) -> ResponsesStream:
        response = _response(answer_id, created_s, call)
        return ResponsesStream(response, call.model, background=call.background)

    def error(self, error: AnswerError, param: str | None = None) -> bytes:
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        kind = {402: "insufficient_quota", 429: "rate_limit_error"}.get(error.status, kind)
        fields: dict[str, Any] = {"message": error.message, "type": kind, "param": param, "code": error.code}
        if error.categories:
            fields["categories"] = error.categories
        return _encode({"error": fields})


def _response(answer_id: str, created_s: int, call: ChatCall) -> ResponseObject:
    repeated = call.repeated if isinstance(call, ResponsesCall) else _NOTHING
    if call.background:
        repeated = {**repeated, **_IN_BACKGROUND}
    return ResponseObject(id=answer_id, created_s=created_s, repeated=repeated)
