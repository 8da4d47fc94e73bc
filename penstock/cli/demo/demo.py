"""`penstock demo`: start everything, ask every kind of question, show what happened, stop."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.bus.auth import NO_NATS_AUTH
from penstock.cli.commands.question import messages
from penstock.cli.commands.trace import find_trace
from penstock.cli.connection import open_client
from penstock.cli.demo.prompts import PROMPTS, DemoPrompt
from penstock.cli.demo.report import Outcome, metric_lines, outcome_table
from penstock.cli.local.plan import VISIBLE_SPEED, make_plan
from penstock.cli.local.system import System
from penstock.cli.program_name import command_name
from penstock.cli.render.answer import AnswerPrinter, failure_text, summary
from penstock.cli.render.table import shortened
from penstock.cli.render.trace_tree import trace_text
from penstock.cli.stop_signals import stop_signals
from penstock.client.client import Client
from penstock.errors import PenstockError
from penstock.runtime.config.settings import Settings, load_settings
from penstock.runtime.runtime_file import RuntimeFile, client_environment

__all__ = ["demo", "demo_environment"]

_TIMEOUT_S = 30.0
_COLUMNS = 100
_EXPORT_S = 10.0
_FAILING = "it is asked once more, then the next one of the chain answers"
_METRICS = (
    "penstock_requests_total",
    "penstock_attempts_total",
    "penstock_tokens_total",
    "penstock_cost_microusd_total",
    "penstock_fallbacks_total",
)


def demo(data: Path, env: Mapping[str, str] = os.environ) -> int:
    """Exit code 0 when every request completed in the role it belongs to. Raises LaunchError and CommandError."""
    try:
        return asyncio.run(_demo(data, demo_environment(env)))
    except asyncio.CancelledError:  # a signal: everything was stopped on the way out
        return 130


def demo_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Whatever is set outside: our own server, our own provider, at a speed at which streaming can be seen."""
    quiet = dict.fromkeys((name for name in env if name.startswith("SIMULATOR_")), "")
    return {
        **env,
        **quiet,
        "NATS_URL": "",
        **NO_NATS_AUTH,
        "PENSTOCK_CATALOGUE": "simulator",
        "PENSTOCK_SIMULATOR_URL": "",
        **VISIBLE_SPEED,
    }


async def _demo(data: Path, env: Mapping[str, str]) -> int:
    plan = make_plan(data, env)
    system = System(plan, _say, nats_port=-1)
    system.lock()
    _forget_last(plan.data)
    with stop_signals() as signals:
        shown = asyncio.create_task(_start_and_show(system, env))
        asked = asyncio.create_task(signals.requested.wait())
        try:
            await asyncio.wait({shown, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not shown.done():
                shown.cancel()
            return await shown
        finally:
            asked.cancel()
            await system.stop()
            _say("Everything is stopped.")


def _forget_last(data: Path) -> None:
    for name in ("nats", "logs"):
        shutil.rmtree(data / name, ignore_errors=True)
    (data / "traces.jsonl").unlink(missing_ok=True)


async def _start_and_show(system: System, env: Mapping[str, str]) -> int:
    began_s = time.monotonic()
    _say("Starting nats-server, a simulated provider, the router and a worker ...")
    places = await system.start()
    _say(f"All ready after {time.monotonic() - began_s:.1f} s: {places.nats_url}\n")
    settings = load_settings(client_environment(env, places))
    async with open_client(settings) as client:
        outcomes = [await _ask(client, number, prompt) for number, prompt in enumerate(PROMPTS, 1)]
        together = await _all_at_once(client)
    _say(outcome_table(outcomes))
    good = all(outcome.good for outcome in (*outcomes, *together))
    await _show_insides(settings, places, outcomes)
    _say(_next_steps(system.plan.data))
    return 0 if good else 1


async def _ask(client: Client, number: int, prompt: DemoPrompt) -> Outcome:
    _say(f"{number:>2}. [{prompt.role}] {shortened(prompt.text, _COLUMNS)}")
    if prompt.note:
        _say(f"    ({prompt.note})")
    answer = AnswerPrinter(sys.stdout, sys.stdout, indent="    │ ")
    outcome = await _outcome(client, prompt, answer)
    if outcome.reply is not None:
        _say(f"    └ {summary(outcome.reply)}\n")
    else:
        _say(f"    └ {outcome.problem}\n")
    return outcome


async def _all_at_once(client: Client) -> list[Outcome]:
    began_s = time.monotonic()
    outcomes = await asyncio.gather(*(_outcome(client, prompt, None) for prompt in PROMPTS))
    completed = sum(outcome.good for outcome in outcomes)
    _say(f"The same {len(PROMPTS)} at once: {completed} answered in {time.monotonic() - began_s:.1f} s.\n")
    for outcome in outcomes:
        if not outcome.good:
            _say(f"  {outcome.prompt.title}: {outcome.verdict}")
    return outcomes


async def _outcome(client: Client, prompt: DemoPrompt, answer: AnswerPrinter | None) -> Outcome:
    asked = messages(prompt.text, prompt.images)
    try:
        if answer is None:
            return Outcome(
                prompt, await client.chat(asked, role=prompt.role, timeout_s=_TIMEOUT_S, stream=True)
            )
        async with client.stream(asked, role=prompt.role, timeout_s=_TIMEOUT_S) as events:
            async for event in events:
                answer.show(event)
    except PenstockError as error:
        return Outcome(prompt, None, failure_text(error))
    return Outcome(prompt, answer.reply)


async def _show_insides(settings: Settings, places: RuntimeFile, outcomes: Sequence[Outcome]) -> None:
    shown = max(
        (outcome.reply for outcome in outcomes if outcome.reply is not None),
        key=lambda reply: reply.attempts,
        default=None,
    )
    if places.traces is not None and shown is not None:
        trace = await _trace(Path(places.traces), shown.id)
        _say(f"\nOne trace, of the request whose first model fails ({_FAILING}):\n{trace}")
    elif settings.traces == "otlp":
        _say("\nThe traces went to the OTLP collector.")
    worker = places.services["worker"]
    page = await asyncio.to_thread(_get, f"{worker}/metrics")
    lines = "\n".join(f"  {line}" for line in metric_lines(page, _METRICS))
    _say(f"\nSome of the worker's metrics ({worker}/metrics):\n{lines}")


async def _trace(file: Path, request_id: str) -> str:
    """The tree, once the services have exported their spans: they do so every second."""
    deadline_s = time.monotonic() + _EXPORT_S
    while True:
        spans = find_trace(file, request_id)
        complete = {"penstock-client", "penstock-router", "penstock-worker"} <= {
            span.service for span in spans
        }
        if complete or time.monotonic() > deadline_s:
            return trace_text(spans) if spans else "(no spans have arrived)"
        await asyncio.sleep(0.1)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own worker's address
        page: bytes = answer.read()
        return page.decode()


def _next_steps(data: Path) -> str:
    here = data.relative_to(Path.cwd()) if data.is_relative_to(Path.cwd()) else data
    name = command_name()
    commands = [
        ("make up", f"the same system, staying up ({name} up)"),
        (f'{name} ask "Why is the sky blue?"', f"in another terminal; {name} ask --help"),
        (f"{name} status", "who is alive, what waits, which limits are used"),
    ]
    width = max(len(command) for command, _ in commands)
    return "\n".join(
        (
            f"\nKept: {here}/traces.jsonl, {here}/logs",
            f"  {name} trace --data {here} last     the newest trace as a tree",
            "Next:",
            *(f"  {command:<{width}}   {meaning}" for command, meaning in commands),
            "",
        )
    )


def _say(line: str) -> None:
    print(line, flush=True)
