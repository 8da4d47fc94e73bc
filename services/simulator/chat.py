"""POST /v1/chat/completions: a composed answer, played as a whole reply or as a stream."""

from __future__ import annotations

import msgspec

from services.simulator.answers.chat import DEFAULT_TOKENS, Answer, compose
from services.simulator.behaviour.pace import Pace
from services.simulator.http.delivery import deliver, end_stream
from services.simulator.http.errors import invalid_request
from services.simulator.http.exchange import SSE
from services.simulator.http.replies import Head, script_stream, script_whole
from services.simulator.http.requests import ChatRequest, Prompt, StreamOptions, decode, read_prompt
from services.simulator.ladder import Call

__all__ = ["Chat"]

_NO_OPTIONS = StreamOptions()


class Chat:
    unsaid_answer_tokens = DEFAULT_TOKENS

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(ChatRequest)

    def decode(self, body: bytes) -> ChatRequest:
        return decode(self._decoder, body)

    def subject(self, request: ChatRequest) -> object:
        return request.messages

    def measure(self, request: ChatRequest) -> Prompt:
        return read_prompt(request)

    async def respond(self, call: Call, request: ChatRequest) -> None:
        choices = request.n or 1
        if request.stream and choices > 1:
            raise invalid_request("'n' above 1 cannot be streamed here.", "n")
        call.attempt.prompt_tokens = call.prompt.tokens
        # The fingerprint is of the messages alone, so an answer is the same whatever else was asked.
        seed = int(call.attempt.sha256[:12], 16)
        answers = [compose(call.name.base, request, call.prompt, seed + choice) for choice in range(choices)]
        if request.stream:
            await _stream(call, answers[0], request.stream_options or _NO_OPTIONS)
        else:
            await _whole(call, answers)


def _head(call: Call) -> Head:
    return Head(
        id="chatcmpl-" + call.attempt.request_id.removeprefix("req_"),
        model=call.name.full,
        created_s=int(call.attempt.at_s),
        prompt_tokens=call.prompt.tokens,
        style=call.provider.header_style,
    )


async def _whole(call: Call, answers: list[Answer]) -> None:
    script = script_whole(_head(call), answers, call.behaviour)
    await deliver(call, script, tokens=sum(answer.tokens for answer in answers))


async def _stream(call: Call, answer: Answer, options: StreamOptions) -> None:
    exchange, attempt, clock = call.exchange, call.attempt, call.provider.clock
    script = script_stream(_head(call), answer, call.behaviour, include_usage=options.include_usage)
    pace = Pace.begin(call.provider.speed, call.behaviour, clock())
    attempt.stream = True
    await exchange.start(200, SSE)
    if pace.first_at_s > clock():
        await exchange.pause(pace.first_at_s - clock())
    for event in script.opening:
        await exchange.write(event)
    for index, event in enumerate(script.tokens):
        await exchange.pause(pace.due_s(index) - clock() if pace.per_token_s else 0)
        await exchange.write(event)
        attempt.completion_tokens += 1
    for event in script.closing:
        await exchange.pause(0)
        await exchange.write(event)
    await end_stream(call, script.ending)
