"""K2: OpenAI's own client speaks to the Responses dialect: it sends the requests and reads the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

from penstock.contract.reply import Completed, Delta
from services.edge.dialects.dialect import AnswerError, InvalidField, SseEvent
from services.edge.dialects.responses import ResponsesDialect
from tests.unit.edge.dialects.responses_answers import (
    CREATED_S,
    ID,
    choices,
    completed,
    started,
    text,
    tool_call,
)

CALLS = [{"id": "c1", "type": "function", "function": {"name": "Weather", "arguments": '{"city":"Ankara"}'}}]


class Weather(BaseModel):
    """The weather of a city."""

    city: str


class Edge:
    """Answers requests as the edge would, with a fixed answer, and records their translations."""

    def __init__(self) -> None:
        self.answer = completed(message={"content": "Good day."})
        self.deltas: list[Delta] = []
        self.chat: dict[str, Any] = {}

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        dialect = ResponsesDialect()
        try:
            call = dialect.read(request.content)
        except InvalidField as error:
            body = dialect.error(AnswerError("invalid_request", error.message, 400), error.field)
            return httpx2.Response(400, content=body, headers={"content-type": "application/json"})
        self.chat = json.loads(bytes(call.body))
        if not call.stream:
            whole = dialect.whole(ID, CREATED_S, call, self.answer)
            return httpx2.Response(200, content=whole, headers={"content-type": "application/json"})
        stream = dialect.stream(ID, CREATED_S, call)
        events = stream.begin(started())
        for delta in self.deltas:
            events += stream.delta(delta)
        events += stream.complete(self.answer)
        content = b"".join(map(_frame, events))
        return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})


def _frame(event: SseEvent) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.event.encode(), event.data)


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def client(edge: Edge) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(transport=httpx2.MockTransport(edge.handle))
    with openai.OpenAI(
        api_key="k", base_url="http://edge.test/v1", http_client=http, max_retries=0
    ) as client:
        yield client


def test_a_whole_answer(client: openai.OpenAI):
    response = client.responses.create(model="auto", input="Hello", instructions="Be short.")
    assert (response.output_text, response.instructions) == ("Good day.", "Be short.")


def test_a_streamed_answer(client: openai.OpenAI, edge: Edge):
    edge.deltas = [choices({"reasoning_content": "hm"}), text("Good "), text("day.")]
    with client.responses.stream(model="auto", input="Hello") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "Good day."
    assert deltas == ["Good ", "day."]


def test_a_structured_answer(client: openai.OpenAI, edge: Edge):
    edge.answer = completed(message={"content": '{"city":"Ankara"}'})
    parsed = client.responses.parse(model="auto", input="Where?", text_format=Weather)
    assert parsed.output_parsed == Weather(city="Ankara")
    response_format = edge.chat["response_format"]
    assert (response_format["type"], response_format["json_schema"]["name"]) == ("json_schema", "Weather")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_with_a_tool(client: openai.OpenAI, edge: Edge, streamed: bool):
    edge.answer = completed("tool_calls", {"reasoning": "hm", "content": "Let me look.", "tool_calls": CALLS})
    edge.deltas = [choices({"reasoning": "hm"}), text("Let me look.")]
    edge.deltas += [
        choices(tool_call(0, "c1", "Weather", '{"city":')),
        choices(tool_call(0, arguments='"Ankara"}')),
    ]
    function = openai.pydantic_function_tool(Weather)["function"]
    tool: Any = {"type": "function", **function}
    create: Callable[..., Any] = client.responses.parse
    if streamed:
        with client.responses.stream(model="auto", input="Hello", tools=[tool]) as stream:
            response = stream.get_final_response()
    else:
        response = create(model="auto", input="Hello", tools=[tool])
    assert edge.chat["tools"][0]["function"]["name"] == "Weather"
    [call] = [item for item in response.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    create(model="auto", input=[{"role": "user", "content": "Hello"}, *response.output, result], tools=[tool])
    assert edge.chat["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]


def test_an_invalid_field_is_a_bad_request(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="auto", input="Hello", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


def test_an_incomplete_stream(client: openai.OpenAI, edge: Edge):
    edge.deltas, edge.answer = [text("Half a")], completed("length")
    events = list(client.responses.create(model="auto", input="Hello", stream=True))
    assert events[-1].type == "response.incomplete"
    assert isinstance(edge.answer, Completed)
