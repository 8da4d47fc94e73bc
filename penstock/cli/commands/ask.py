"""`penstock ask`: send one request and print its answer as it arrives, or submit it as a job."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from penstock.cli.commands.question import Question
from penstock.cli.connection import check_before_request, command_settings, open_client
from penstock.cli.connection_notes import connection_notes
from penstock.cli.program_name import command_name
from penstock.cli.render.answer import AnswerPrinter, failure_text, summary
from penstock.cli.render.retrieval.passages import recalled_text, sources_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.client.stream import Stream
from penstock.contract.reply import Failed
from penstock.errors import NoReply, NotAccepted, RequestFailed, RequestTooLarge
from penstock.runtime.config.settings import Settings

__all__ = ["ask", "submit_job"]


def ask(question: Question, data: Path) -> int:
    """Exit code: 0 for a complete answer, 1 for a failure, 130 after a cancellation with Ctrl-C.

    Raises BrokerUnreachable, ConfigurationRefused and CommandError.
    """
    messages = question.messages()
    return asyncio.run(_ask(question, messages, command_settings(data)))


def submit_job(question: Question, data: Path) -> int:
    """Submit the request as a job and print its id. Raises as `ask`, and PenstockError where it is not accepted."""
    messages = question.messages()
    request_id = asyncio.run(_submit(question, messages, command_settings(data)))
    print(as_ascii_json({"id": request_id}) if question.as_json else request_id)
    name = command_name()
    _note(f"{name} jobs {request_id}            its status")
    _note(f"{name} jobs {request_id} --result   its answer, for two days after its end")
    return 0


async def _submit(question: Question, messages: list[dict[str, Any]], settings: Settings) -> str:
    await _warn(settings)
    async with open_client(settings) as client:
        return await client.submit(
            messages,
            role=question.role,
            model=question.model,
            complexity=question.complexity,
            user=question.user,
            timeout_s=question.timeout_s,
            rescue=question.rescue,
            rag=question.rag,
            conversation=question.conversation,
            **question.limits(),
        )


async def _ask(question: Question, messages: list[dict[str, Any]], settings: Settings) -> int:
    await _warn(settings)
    async with open_client(settings) as client:
        stream = client.stream(
            messages,
            role=question.role,
            model=question.model,
            complexity=question.complexity,
            user=question.user,
            lane=question.lane,
            timeout_s=question.timeout_s,
            rescue=question.rescue,
            rag=question.rag,
            conversation=question.conversation,
            stream=question.stream,
            **question.limits(),
        )
        answer = AnswerPrinter(sys.stdout, sys.stderr, print_deltas=sys.stdout.isatty())
        try:
            with connection_notes(answer.note):
                async with stream:  # leaving it before the end cancels the request
                    if question.as_json:
                        return await _as_json(stream)
                    return await _as_text(stream, answer, with_sources=question.rag is not None)
        except (RequestFailed, NotAccepted, NoReply, RequestTooLarge) as error:
            _note(f"penstock: {failure_text(error, account=settings.account, user=question.user)}")
            return 1
        except asyncio.CancelledError:
            _note(f"\npenstock: cancelled (request {stream.id})")
            raise


async def _warn(settings: Settings) -> None:
    warning = await check_before_request(settings)
    if warning is not None:
        _note(warning)


async def _as_text(stream: Stream, answer: AnswerPrinter, *, with_sources: bool) -> int:
    async for event in stream:
        answer.show(event)
    if answer.reply is not None:
        if with_sources:
            print(f"\n{sources_text(answer.reply.citations, answer.reply.left_out)}", flush=True)
        if answer.reply.recalled:
            print(f"\n{recalled_text(answer.reply.recalled)}", flush=True)
        _note(summary(answer.reply))
    return 0


async def _as_json(stream: Stream) -> int:
    code = 0
    async for event in stream:
        print(as_ascii_json(event), flush=True)
        code = 1 if isinstance(event, Failed) else 0
    return code


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
