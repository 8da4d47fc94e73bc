"""`penstock ask`: one request, its answer as it comes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from penstock.cli.commands.connection_notes import noting
from penstock.cli.commands.prompt_input import data_url, messages, read_prompt
from penstock.cli.connection import command_settings, open_client, warning_before_asking
from penstock.cli.program_name import command_name
from penstock.cli.render.answer import AnswerText, failure_text, summary
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.client.stream import Stream
from penstock.contract.names import AUTO, Lane, Rescue
from penstock.contract.reply import Failed
from penstock.errors import NoReply, NotAccepted, RequestFailed, RequestTooLarge
from penstock.runtime.config.settings import Settings

__all__ = ["Question", "ask", "leave"]


class Question(Struct, frozen=True, kw_only=True):
    """What the command line says."""

    prompt: str
    role: str = AUTO
    images: tuple[Path, ...] = ()
    system: str | None = None
    user: str = ""
    timeout_s: float | None = None
    stream: bool = True
    as_json: bool = False
    lane: Lane = "interactive"
    rescue: Rescue = "restart"

    def messages(self) -> list[dict[str, Any]]:
        """Raises CommandError for a prompt or an image that cannot be used."""
        prompt = read_prompt(self.prompt, sys.stdin.buffer)
        return messages(prompt, [data_url(path) for path in self.images], self.system)


def ask(question: Question, data: Path) -> int:
    """Exit code: 0 for a whole answer, 1 for a failure, 130 when Ctrl-C took the question back.

    Raises BrokerUnreachable, ConfigurationRefused and CommandError.
    """
    asked = question.messages()
    return asyncio.run(_ask(question, asked, command_settings(data)))


def leave(question: Question, data: Path) -> int:
    """Leave it as a job, and print its id. Raises as `ask`, and PenstockError where it cannot be left."""
    asked = question.messages()
    request_id = asyncio.run(_leave(question, asked, command_settings(data)))
    print(as_ascii_json({"id": request_id}) if question.as_json else request_id)
    name = command_name()
    _note(f"{name} jobs {request_id}            what has become of it")
    _note(f"{name} jobs {request_id} --result   its answer, for two days after its end")
    return 0


async def _leave(question: Question, asked: list[dict[str, Any]], settings: Settings) -> str:
    warning = await warning_before_asking(settings)
    if warning is not None:
        _note(warning)
    async with open_client(settings) as client:
        return await client.submit(
            asked,
            role=question.role,
            user=question.user,
            timeout_s=question.timeout_s,
            rescue=question.rescue,
        )


async def _ask(question: Question, asked: list[dict[str, Any]], settings: Settings) -> int:
    warning = await warning_before_asking(settings)
    if warning is not None:
        _note(warning)
    async with open_client(settings) as client:
        stream = client.stream(
            asked,
            role=question.role,
            user=question.user,
            lane=question.lane,
            timeout_s=question.timeout_s,
            rescue=question.rescue,
            stream=question.stream,
        )
        answer = AnswerText(sys.stdout, sys.stderr, as_it_comes=sys.stdout.isatty())
        try:
            with noting(answer.note):
                async with stream:  # leaving it before the end cancels the request
                    return await (_as_json(stream) if question.as_json else _as_text(stream, answer))
        except (RequestFailed, NotAccepted, NoReply, RequestTooLarge) as error:
            _note(f"penstock: {failure_text(error)}")
            return 1
        except asyncio.CancelledError:
            _note(f"\npenstock: cancelled (request {stream.id})")
            raise


async def _as_text(stream: Stream, answer: AnswerText) -> int:
    async for event in stream:
        answer.show(event)
    if answer.reply is not None:
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
