"""`penstock demo`: start a whole system, show what Penstock promises, stop it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Final

from penstock.bus.auth import NO_NATS_AUTH
from penstock.cli.commands.trace import find_trace
from penstock.cli.connection import open_client
from penstock.cli.demo import steps
from penstock.cli.demo.budget import budget
from penstock.cli.demo.catalogue import LIMITED_ROLE, QUOTA, write_catalogue
from penstock.cli.demo.documents import documents, index_pages
from penstock.cli.demo.guard import guard
from penstock.cli.demo.prompts import PROMPTS
from penstock.cli.demo.steps import DemoContext, PromptResult, StepResult
from penstock.cli.local.plan import VISIBLE_SPEED, make_plan
from penstock.cli.local.system import LocalSystem
from penstock.cli.program_name import command_name
from penstock.cli.render.answer import failure_text
from penstock.cli.render.trace_tree import trace_text
from penstock.cli.retrieval.totals import IndexTotals
from penstock.cli.stop_signals import run, stop_signals
from penstock.errors import PenstockError
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.config.settings import Settings, load_settings
from penstock.runtime.runtime_file import RuntimeFile, client_environment
from penstock.runtime.telemetry.trace_file import trace_files

__all__ = ["demo", "demo_environment"]

_WORKERS: Final = 2
_ACK_WAIT_S: Final = 3
"""Seconds until JetStream gives the request of a killed worker to another one; 10 by default."""
_EXPORT_TIMEOUT_S: Final = 10.0


def demo(data: Path, env: Mapping[str, str] = os.environ) -> int:
    """Exit code 0 when every promise held, 1 when one did not. Raises LaunchError and CommandError."""
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-demo-") as directory:
            catalogue = write_catalogue(Path(directory), env)
            return run(lambda: _demo(data, demo_environment(env, catalogue)))
    except asyncio.CancelledError:  # a second signal, after which everything was stopped
        return 130


def demo_environment(env: Mapping[str, str], catalogue: Path) -> dict[str, str]:
    """`env` with an embedded server, the simulated provider at a visible speed, and `catalogue`."""
    unset = dict.fromkeys((name for name in env if name.startswith("SIMULATOR_")), "")
    return {
        **env,
        **unset,
        "NATS_URL": "",
        **NO_NATS_AUTH,
        "PENSTOCK_ACK_WAIT_S": str(_ACK_WAIT_S),
        "PENSTOCK_CATALOGUE": str(catalogue),
        "PENSTOCK_SIMULATOR_URL": "",
        **VISIBLE_SPEED,
    }


async def _demo(data: Path, env: Mapping[str, str]) -> int:
    plan = make_plan(data, env, workers=_WORKERS)
    system = LocalSystem(plan, _say, nats_port=-1)
    system.lock()
    _delete_last(plan.data)
    with stop_signals(_say, system.kill_nats) as stop_signal:
        showing = asyncio.create_task(_start_and_show(system, env))
        stop_requested = asyncio.create_task(stop_signal.wait())
        try:
            await asyncio.wait({showing, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
            if not showing.done():
                showing.cancel()
            return await showing
        finally:
            stop_requested.cancel()
            try:
                await cancel_and_wait(showing)  # it may still be starting services
            finally:
                await system.stop()
                _say("Everything is stopped.")


def _delete_last(data: Path) -> None:
    for name in ("nats", "logs", "index"):
        shutil.rmtree(data / name, ignore_errors=True)
    for file in trace_files(data / "traces.jsonl"):
        file.unlink(missing_ok=True)


async def _start_and_show(system: LocalSystem, env: Mapping[str, str]) -> int:
    began_s = time.monotonic()
    _say(
        "Starting nats-server, a simulated provider, a local encoder, two workers and the other services ..."
    )
    addresses = await system.start()
    _say(f"All ready after {time.monotonic() - began_s:.1f} s: {addresses.nats_url}")
    _say(f"Metrics: {', '.join(f'{http}/metrics' for http in addresses.services.values())}")
    settings = load_settings(client_environment(env, addresses))
    async with open_client(settings) as client:
        held, results = await _show(DemoContext(system, settings, client))
    await _show_trace(settings, addresses, results)
    _say(f"\n{_verdict_text(held)} shown in {time.monotonic() - began_s:.0f} s.")
    _say(_next_steps(system.plan.data))
    return 0 if all(held) else 1


async def _show(context: DemoContext) -> tuple[list[bool], list[PromptResult]]:
    """Whether each promise held, and the results of the prompts. The limited role waits while others are shown, and
    pages are indexed while it waits.
    """
    _say("\n1. A worker is killed in mid-stream: `restarted`, then the whole answer from another worker.")
    held = [await _held(steps.killed_worker(context))]
    results: list[PromptResult] = []
    limited = asyncio.create_task(_result_of(steps.empty_quota(context, results)))
    indexing: asyncio.Task[IndexTotals] | None = None
    try:
        _say(f"\n2. The role {LIMITED_ROLE}, with a quota of {QUOTA}/min, is sent more requests; see 6.")
        _say(f"\n3. {len(PROMPTS)} prompts: the router chooses the role; a model that fails is replaced.")
        held.append(await _held(steps.prompts(context, PROMPTS, results)))
        _say("\n4. A stream is resumed by another process.")
        held.append(await _held(steps.resumed_stream(context)))
        _say("\n5. A job is submitted, its status followed, its result read.")
        held.append(await _held(steps.job(context)))
        indexing = asyncio.create_task(index_pages(context))
        _say("\n6. The empty quota made its own role wait, and no other.")
        held.append(_report(await limited))
        _say("\n7. A user is stopped at a daily budget, others go on; what all have spent.")
        held.append(await _held(budget(context)))
        _say("\n8. The safety guard: personal data, an injection inside a document, a secret in an answer.")
        held.append(await _held(guard(context)))
        _say("\n9. Pages are indexed by meaning, offline, an answer cites them; a second time costs nothing.")
        held.append(await _held(documents(context, indexing)))
    finally:
        limited.cancel()
        if indexing is not None:
            indexing.cancel()
    return held, results


def _verdict_text(held: Sequence[bool]) -> str:
    """The steps are numbered 1 to 9; 2 and 6 show the same promise."""
    return "All promises were" if all(held) else f"{held.count(False)} of {len(held)} promises were not"


async def _held(step: Awaitable[StepResult]) -> bool:
    return _report(await _result_of(step))


async def _result_of(step: Awaitable[StepResult]) -> StepResult:
    try:
        return await step
    except PenstockError as error:
        return StepResult(held=False, text=failure_text(error))


def _report(result: StepResult) -> bool:
    _say(f"    └ {'ok' if result.held else 'FAILED'}: {result.text}")
    return result.held


async def _show_trace(settings: Settings, addresses: RuntimeFile, results: Sequence[PromptResult]) -> None:
    shown = max(
        (result.reply for result in results if result.reply is not None),
        key=lambda reply: reply.attempts,
        default=None,
    )
    if addresses.traces is not None and shown is not None:
        trace = await _trace(Path(addresses.traces), shown.id)
        _say(f"\nThe trace of the request whose first model failed:\n{trace}")
    elif settings.traces == "otlp":
        _say("\nThe traces went to the OTLP collector.")


async def _trace(file: Path, request_id: str) -> str:
    """The tree of spans, once each service has exported its spans."""
    deadline_s = time.monotonic() + _EXPORT_TIMEOUT_S
    while True:
        spans = find_trace(file, request_id)
        services = {span.service for span in spans}
        complete = {"penstock-client", "penstock-router", "penstock-ledger", "penstock-worker"} <= services
        if complete or time.monotonic() > deadline_s:
            return trace_text(spans) if spans else "(no span was exported)"
        await asyncio.sleep(0.1)


def _next_steps(data: Path) -> str:
    here = data.relative_to(Path.cwd()) if data.is_relative_to(Path.cwd()) else data
    name = command_name()
    commands = [
        ("make up", f"the same system, running until Ctrl-C ({name} up)"),
        (f'{name} ask "Why is the sky blue?"', f"in another terminal; {name} ask --help"),
        (f"{name} status", "live services, mailboxes, use of limits"),
        (f"{name} spend --by user,model", f"what was spent; {name} budget show: what is left"),
        (f"{name} index docs --collection docs", f'then {name} ask --collection docs "How do I add a key?"'),
        (f'{name} guard try "a text"', f"what the safety guard finds in it; {name} guard show: the policies"),
    ]
    width = max(len(command) for command, _ in commands)
    return "\n".join(
        (
            f"Kept: {here}/traces.jsonl, {here}/logs",
            f"  {name} trace --data {here} last     the newest trace as a tree",
            "Next:",
            *(f"  {command:<{width}}   {meaning}" for command, meaning in commands),
            "",
        )
    )


def _say(line: str) -> None:
    print(line, flush=True)
