"""`penstock ask`: send one request and print its answer as it arrives, or submit it as a job."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from penstock.cli.commands.question import Question
from penstock.cli.connection import check_before_request, command_settings, open_client
from penstock.cli.program_name import command_name
from penstock.cli.render.answer import AnswerPrinter, failure_text, summary
from penstock.cli.render.retrieval.passages import recalled_text, sources_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.client.stream import Stream
from penstock.contract.reply import Failed
from penstock.errors import NoReply, NotAccepted, RequestFailed, RequestTooLarge
from penstock.runtime.config.settings import Settings

__all__ = ["ask", "connection_notes", "submit_job"]


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
            print(f"\n{sources_text(answer.reply.citations)}", flush=True)
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


_CONNECTION: Final = "penstock.bus.connection"
_NOTES: Final = {
    "lost": "the connection to NATS is lost; waiting for it",
    "again": "connected again",
}


class _ConnectionNotes(logging.Handler):
    """One note when the connection is lost and one when it is back; log records in between are dropped."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._note = note
        self._lost = False

    def emit(self, record: logging.LogRecord) -> None:
        state = getattr(record, "fields", {}).get("connection")
        if state in _NOTES:
            if (state == "lost") != self._lost:
                self._lost = state == "lost"
                self._note(_NOTES[state])
        elif state is None and record.levelno >= logging.WARNING:
            self._note(record.getMessage())


@contextmanager
def connection_notes(note: Callable[[str], None]) -> Iterator[None]:
    """Inside the context, all log records of the process go to `note`."""
    root, connection = logging.getLogger(), logging.getLogger(_CONNECTION)
    handler = _ConnectionNotes(note)
    before = connection.level
    root.addHandler(handler)
    connection.setLevel(logging.INFO)
    try:
        yield
    finally:
        connection.setLevel(before)
        root.removeHandler(handler)
