"""The steps of the demo. Each shows one promise on the running system and returns whether it held."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from penstock.bus.auth import NO_NATS_AUTH
from penstock.cli.commands.question import messages
from penstock.cli.demo.catalogue import LIMITED_ROLE, QUOTA
from penstock.cli.demo.prompts import DemoPrompt
from penstock.cli.demo.resume import ResumedPart
from penstock.cli.errors import CommandError
from penstock.cli.local.exit_report import exit_text
from penstock.cli.local.python_child import code_path
from penstock.cli.local.system import LocalSystem
from penstock.cli.render.answer import AnswerPrinter, failure_text
from penstock.cli.render.table import shortened, table
from penstock.client.client import Client
from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract.reply import Delta, Restarted, Started
from penstock.errors import PenstockError
from penstock.runtime.config.settings import Settings

__all__ = [
    "DemoContext",
    "PromptResult",
    "StepResult",
    "empty_quota",
    "job",
    "killed_worker",
    "prompts",
    "result_table",
    "resumed_stream",
]

_TIMEOUT_S: Final = 45.0
_REQUESTS: Final = QUOTA + 2
_LONG: Final = "Tell me about water wheels. [[tokens=240]]"
"""The simulator answers it with 240 tokens, in two seconds."""
_DELTAS_BEFORE: Final = 5
"""Deltas that arrive before the interruption."""
_POLL_S: Final = 0.1
_COLUMNS: Final = 100
_TITLES: Final = ("prompt", "role", "why", "model", "attempts", "first token", "total", "")
_WHY_COLUMNS: Final = 40


class DemoContext(Struct, frozen=True):
    """The running system and a client of it."""

    system: LocalSystem
    settings: Settings
    client: Client


class StepResult(Struct, frozen=True):
    """The result of a step, and whether its promise held."""

    held: bool
    text: str


class PromptResult(Struct, frozen=True):
    """The reply to one prompt, or the reason for its absence."""

    prompt: DemoPrompt
    reply: Reply | None
    problem: str = ""

    @property
    def good(self) -> bool:
        return self.reply is not None and self.reply.role == self.prompt.expected

    @property
    def result(self) -> str:
        if self.reply is None:
            return f"failed: {self.problem}"
        return "ok" if self.good else f"expected {self.prompt.expected}"


def result_table(results: Sequence[PromptResult]) -> str:
    return table(_TITLES, [_row(result) for result in results], right=frozenset({4, 5, 6}))


def _row(result: PromptResult) -> tuple[str, ...]:
    reply = result.reply
    if reply is None:
        return (result.prompt.title, "-", "-", "-", "-", "-", "-", result.result)
    first = reply.timings.first_token_ms
    return (
        result.prompt.title,
        reply.role,
        shortened(reply.why, _WHY_COLUMNS),
        reply.model,
        str(reply.attempts),
        "-" if first is None else f"{first:.0f} ms",
        f"{reply.timings.total_ms:.0f} ms",
        result.result,
    )


async def killed_worker(context: DemoContext) -> StepResult:
    """Kill the worker of a stream with SIGKILL; another worker answers the request again."""
    builder, text, deltas, worker, killed, restarted = ReplyBuilder(), "", 0, "", "", False
    began_s, reply = time.monotonic(), None
    async with context.client.stream(_LONG, role="chat", timeout_s=_TIMEOUT_S) as events:
        async for event in events:
            reply = builder.add(event)
            if isinstance(event, Started):
                worker = event.worker
            elif isinstance(event, Restarted):
                restarted, text = True, ""
            elif isinstance(event, Delta):
                text, deltas = text + event.text, deltas + 1
                if deltas == _DELTAS_BEFORE and not killed:
                    killed = f"{len(text)} characters, kill -9 {_kill(context.system, worker)}"
    held = bool(killed) and restarted and reply is not None and reply.attempts > 1 and reply.text == text
    whole = f"{len(text):,} characters after {time.monotonic() - began_s:.1f} s"
    return StepResult(held=held, text=f"{killed}, {'restarted' if restarted else 'no restart'}, {whole}")


def _kill(system: LocalSystem, instance: str) -> int:
    pid = system.pid_of(instance)
    os.kill(pid, signal.SIGKILL)
    return pid


async def resumed_stream(context: DemoContext) -> StepResult:
    """Leave a stream after some events and read the rest in another process."""
    head, seq, deltas = "", -1, 0
    async with context.client.stream(_LONG, role="chat", timeout_s=_TIMEOUT_S) as events:
        events.detach()
        async for event in events:
            seq = event.seq
            if isinstance(event, Delta):
                head, deltas = head + event.text, deltas + 1
                if deltas == _DELTAS_BEFORE:
                    break
    rest = await _resume_elsewhere(context, events.id, seq)
    builder, reply = ReplyBuilder(), None
    async for event in context.client.resume(events.id, timeout_s=_TIMEOUT_S):
        reply = builder.add(event)
    held = rest.completed and reply is not None and reply.text == head + rest.text
    result = f"{len(head)} characters here, {len(rest.text)} in process {rest.pid}"
    return StepResult(held=held, text=f"{result}: {'the whole answer' if held else 'not the whole answer'}")


async def _resume_elsewhere(context: DemoContext, request_id: str, after_seq: int) -> ResumedPart:
    arguments = (
        context.system.nats_url,
        context.settings.account,
        context.client.name,
        request_id,
        str(after_seq),
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "penstock.cli.demo.resume", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **NO_NATS_AUTH, **code_path(os.environ)},
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CommandError(f"the process that resumes the stream {exit_text(process.returncode)}")
    return msgspec.json.decode(printed, type=ResumedPart)


async def empty_quota(context: DemoContext, others: Sequence[PromptResult]) -> StepResult:
    """Send more requests than the quota has at once. `others`: the prompts of other roles that are answered meanwhile,
    of which a slow machine may not manage all.
    """
    began_s = time.monotonic()

    async def ask(number: int) -> tuple[float, int]:
        await context.client.chat(f"Is the number {number} prime?", role=LIMITED_ROLE, timeout_s=_TIMEOUT_S)
        return time.monotonic() - began_s, sum(each.good for each in others)

    ends = sorted(await asyncio.gather(*(ask(number) for number in range(_REQUESTS))))
    waited = [(seconds, answered) for seconds, answered in ends if seconds > 60 / QUOTA / 2]
    answered = waited[-1][1] if waited else 0
    held = 0 < len(waited) <= _REQUESTS - QUOTA + 1 and answered > 0
    times = " and ".join(f"{seconds:.0f} s" for seconds, _ in waited) or "none"
    at_once = f"{len(ends) - len(waited)} of {len(ends)} requests of the role {LIMITED_ROLE} at once"
    return StepResult(
        held=held,
        text=f"{at_once}, the others after {times}; meanwhile {answered} prompts of other roles were answered",
    )


async def job(context: DemoContext) -> StepResult:
    """Submit a job, read its status until it ends, read its result."""
    job_id = await context.client.submit("Summarise the history of the water wheel.", role="logic")
    states: list[str] = []
    give_up_s = time.monotonic() + _TIMEOUT_S
    while not states or states[-1] not in {"completed", "failed"}:
        if time.monotonic() > give_up_s:
            break
        await asyncio.sleep(_POLL_S)
        state = await _state(context.client, job_id)
        if state not in states:
            states.append(state)
    reply = await context.client.result(job_id) if states[-1] == "completed" else None
    answer = "no result" if reply is None else f"{len(reply.text)} characters from {reply.model}"
    return StepResult(held=reply is not None, text=f"{job_id}: {', '.join(states)}; {answer}")


async def _state(client: Client, job_id: str) -> str:
    try:
        return (await client.job(job_id)).state
    except PenstockError:  # no router has recorded the job yet
        return "submitted"


async def prompts(
    context: DemoContext, chosen: Sequence[DemoPrompt], results: list[PromptResult]
) -> StepResult:
    """Stream the answers of all prompts, print the table of their results and append them to `results`."""
    for prompt in chosen:
        print(f"    [{prompt.role}] {shortened(prompt.text, _COLUMNS)}", flush=True)
        results.append(await _result(context.client, prompt))
    print(f"\n{result_table(results)}", flush=True)
    good = sum(result.good for result in results)
    roles = len({result.prompt.expected for result in results})
    return StepResult(
        held=good == len(results), text=f"{good} of {len(results)} prompts of {roles} roles completed"
    )


async def _result(client: Client, prompt: DemoPrompt) -> PromptResult:
    answer = AnswerPrinter(sys.stdout, sys.stdout, indent="    │ ")
    content = messages(prompt.text, prompt.images)
    try:
        async with client.stream(content, role=prompt.role, timeout_s=_TIMEOUT_S) as events:
            async for event in events:
                answer.show(event)
    except PenstockError as error:
        return PromptResult(prompt, None, failure_text(error))
    return PromptResult(prompt, answer.reply)
