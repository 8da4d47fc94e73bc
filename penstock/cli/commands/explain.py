"""`penstock explain`: how a question would be routed. Nothing is stored or spent."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import nats.errors

from penstock.bus.clock import SYSTEM
from penstock.bus.ids import new_id
from penstock.cli.commands.ask import Question
from penstock.cli.connection import command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.render.answer import advice
from penstock.cli.render.chain import chain_text
from penstock.cli.render.terminal_safe import as_ascii_json, shown, visible
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.explain import Asker, RoutingExplained
from penstock.contract.names import Lane
from penstock.contract.reply import Failed
from penstock.contract.request import ChatRequest
from penstock.runtime.config.settings import Settings

__all__ = ["explain", "explanation", "payload"]

_TIMEOUT_S = 5.0
_answer: Final[msgspec.json.Decoder[RoutingExplained | Failed]] = msgspec.json.Decoder(
    RoutingExplained | Failed
)


def explain(question: Question, data: Path) -> int:
    """Exit code 1 where the router would refuse it, or no model of the chain could serve it.

    Raises BrokerUnreachable and CommandError.
    """
    asked = question.messages()
    answer = asyncio.run(_explain(question, asked, command_settings(data)))
    if question.as_json:
        print(as_ascii_json(answer))
        return int(isinstance(answer, Failed) or not answer.chain)
    if isinstance(answer, Failed):
        error = answer.error
        print(f"penstock: {visible(error.message, lines=True)} ({error.code})", file=sys.stderr)
        print(f"  {advice(error.code, error.retry, error.retry_after_s)}", file=sys.stderr)
        return 1
    print(explanation(answer))
    return int(not answer.chain)


def explanation(told: RoutingExplained) -> str:
    answer = shown(told)
    return "\n".join(
        (
            f"role        {answer.role}",
            f"complexity  {answer.complexity}",
            f"why         {answer.why}",
            f"chain       {chain_text(answer.chain, answer.weighted) or 'none can serve it'}",
            f"wait        {_wait(answer.wait_s)}",
            f"let in      {_let_in(answer)}",
        )
    )


_LET_IN: Final[dict[Lane | None, str]] = {
    "interactive": "as an interactive request",
    "batch": "as a job of the batch lane",
    None: "now",
}
"""Let in is not begun: the wait stands above."""


def _let_in(told: RoutingExplained) -> str:
    if not told.chain:
        return "and ended at once by the worker: no model of the chain can serve it"
    kind = _LET_IN[told.lane]
    if told.deadline_ms is None:  # by a router of another version
        return kind
    left_s = (told.deadline_ms - SYSTEM.unix_ms()) / 1000
    return f"{kind}, with {left_s:,.0f} s until its deadline"


def _wait(wait_s: float | None) -> str:
    if wait_s is None:
        return "nobody can say until when"
    return f"about {wait_s:g} s" if wait_s > 0 else "none"


def payload(question: Question, asked: list[dict[str, Any]], account: str) -> bytes:
    """What the router is asked: the request as it would be sent, and for whom."""
    body = msgspec.Raw(msgspec.json.encode({"messages": asked, "stream": question.stream}))
    until_ms = None if question.timeout_s is None else SYSTEM.unix_ms() + round(question.timeout_s * 1000)
    request = ChatRequest(
        id=new_id(),
        client="penstock-explain",
        body=body,
        role=question.role,
        lane=question.lane,
        user=question.user,
        deadline_ms=until_ms,
    )
    fields = msgspec.json.decode(encode(request), type=dict[str, msgspec.Raw])
    for_whom = msgspec.json.decode(encode(Asker(account=account)), type=dict[str, msgspec.Raw])
    return msgspec.json.encode(fields | for_whom)


async def _explain(
    question: Question, asked: list[dict[str, Any]], settings: Settings
) -> RoutingExplained | Failed:
    async with open_connection(settings, "penstock-explain") as nc:
        try:
            msg = await nc.request(
                subjects.EXPLAIN, payload(question, asked, settings.account), timeout=_TIMEOUT_S
            )
        except nats.errors.NoRespondersError as error:
            raise CommandError("no router is alive; start one with `penstock up`") from error
        except nats.errors.TimeoutError as error:
            raise CommandError(f"the router did not answer within {_TIMEOUT_S:g} s") from error
        except nats.errors.MaxPayloadError as error:
            raise CommandError("the request is larger than one message may be") from error
    try:
        return _answer.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"what answered is no router: {error}") from error
