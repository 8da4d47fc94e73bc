"""`penstock explain`: show how a request would be routed. Nothing is stored or spent."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import nats.errors

from penstock.bus.ids import new_id
from penstock.cli.commands.question import Question, read_prompt
from penstock.cli.connection import command_settings, open_connection, read_server_clock
from penstock.cli.errors import CommandError
from penstock.cli.render.explanation import explanation_text
from penstock.cli.render.retry_advice import retry_advice
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.explain import RequestingAccount, RoutingExplained
from penstock.contract.reply import Failed
from penstock.contract.request import ChatRequest, EmbedRequest
from penstock.runtime.config.settings import Settings

__all__ = ["explain", "explain_request"]

_TIMEOUT_S: Final = 5.0
_answer: Final[msgspec.json.Decoder[RoutingExplained | Failed]] = msgspec.json.Decoder(
    RoutingExplained | Failed
)


def explain(question: Question, data: Path) -> int:
    """Exit code 1 where the router would reject the request, or no model of the chain could serve it.

    Raises BrokerUnreachable and CommandError.
    """
    body = _body(question)
    answer, now_ms = asyncio.run(_explain(question, body, command_settings(data)))
    if question.as_json:
        print(as_ascii_json(answer))
        return int(isinstance(answer, Failed) or not answer.chain)
    if isinstance(answer, Failed):
        error = answer.error
        print(f"penstock: {visible(error.message, lines=True)} ({error.code})", file=sys.stderr)
        print(f"  {retry_advice(error.code, error.retry, error.retry_after_s)}", file=sys.stderr)
        return 1
    print(explanation_text(answer, now_ms))
    return int(not answer.chain)


def _body(question: Question) -> dict[str, Any]:
    """Raises CommandError for an invalid prompt or image."""
    if question.embed:
        return {"input": read_prompt(question.prompt, sys.stdin.buffer)}
    return {"messages": question.messages(), "stream": question.stream, **question.limits()}


def explain_request(question: Question, body: dict[str, Any], account: str) -> bytes:
    """The payload for the router: the request as `ask` or `Client.embed` would send it, and its account."""
    request = _request(question, msgspec.Raw(msgspec.json.encode(body)))
    fields = msgspec.json.decode(encode(request), type=dict[str, msgspec.Raw])
    requesting = msgspec.json.decode(encode(RequestingAccount(account=account)), type=dict[str, msgspec.Raw])
    return msgspec.json.encode(fields | requesting)


def _request(question: Question, body: msgspec.Raw) -> ChatRequest | EmbedRequest:
    same: dict[str, Any] = {
        "id": new_id(),
        "client": "penstock-explain",
        "body": body,
        "role": question.role,
        "model": question.model,
        "lane": question.lane,
        "user": question.user,
        "timeout_s": question.timeout_s,
    }
    if question.embed:
        return EmbedRequest(**same)
    return ChatRequest(**same, complexity=question.complexity)


async def _explain(
    question: Question, body: dict[str, Any], settings: Settings
) -> tuple[RoutingExplained | Failed, int]:
    """The answer, and the time of the server, Unix milliseconds."""
    async with open_connection(settings, "penstock-explain") as nc:
        server_time = await read_server_clock(nc)
        payload = explain_request(question, body, settings.account)
        try:
            msg = await nc.request(subjects.EXPLAIN, payload, timeout=_TIMEOUT_S)
        except nats.errors.NoRespondersError as error:
            raise CommandError("no router is alive; start one with `penstock up`") from error
        except nats.errors.TimeoutError as error:
            raise CommandError(f"the router did not answer within {_TIMEOUT_S:g} s") from error
        except nats.errors.MaxPayloadError as error:
            raise CommandError("the request is larger than the largest NATS message") from error
    try:
        return _answer.decode(msg.data), server_time.unix_ms()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the reply is not a router's: {error}") from error
