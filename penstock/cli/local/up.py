"""`penstock up`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.bus.masking import without_userinfo
from penstock.cli.errors import CommandError
from penstock.cli.local.disk_space import disk_space_notes
from penstock.cli.local.plan import EDGE_PORT, Plan, make_plan
from penstock.cli.local.ports import port_is_free
from penstock.cli.local.provider_checks import (
    missing_key_notes,
    provider_addresses,
    unreachable_provider_notes,
)
from penstock.cli.local.system import LocalSystem
from penstock.cli.program_name import command_name
from penstock.cli.stop_signals import run, stop_signals
from penstock.runtime.runtime_file import DEFAULT_DATA, RuntimeFile
from penstock.runtime.telemetry.line_writer import LineWriter

__all__ = ["startup_text", "up"]

_NATS_PORT: Final = 4222
"""The default port of NATS clients."""
_STOPPED: Final = "Stopped; nothing is left running."
_FLUSH_S: Final = 1.0
"""Longest wait for a terminal or pipe to take the last lines."""


def up(
    data: Path,
    *,
    per_role: bool,
    simulator: bool,
    nats_port: int | None = None,
    env: Mapping[str, str] = os.environ,
) -> int:
    """Exit code 0 after a signal. `nats_port` 0: any free port; None: 4222, or a free port where that is taken.

    Raises LaunchError, CommandError or ConfigurationRefused.
    """
    plan = make_plan(data, env, per_role=per_role, simulator=simulator, edge=True)
    output = _Output()
    output.note(*plan.notes, *missing_key_notes(plan.catalogue, env))
    try:
        return run(lambda: _up(plan, nats_port, output))
    except asyncio.CancelledError:  # the second signal: everything was killed
        return 130
    finally:
        output.flush()


class _Output:
    """stdout and stderr; lines that are not read are dropped, and the system runs on."""

    def __init__(self) -> None:
        self._stdout, self._stderr = (
            LineWriter(stream, dropped_text="[{:,} lines were dropped: they were not read]".format)
            for stream in (sys.stdout, sys.stderr)
        )

    def say(self, text: str) -> None:
        self._stdout.write(text)

    def note(self, *notes: str) -> None:
        for note in notes:
            self._stderr.write(note)
        self._stderr.flush(_FLUSH_S)  # before what follows on stdout

    def flush(self) -> None:
        self._stdout.flush(_FLUSH_S)


async def _up(plan: Plan, nats_port: int | None, output: _Output) -> int:
    system = LocalSystem(plan, output.say, nats_port=_port(nats_port))
    system.lock()
    if plan.embedded:
        output.note(*disk_space_notes(plan.data / "nats", plan.settings.store_scale))
    output.note(f"Starting; logs are written to {plan.log_dir}.")
    with stop_signals(output.say, system.kill_nats) as stop_signal:
        stop_requested = asyncio.create_task(stop_signal.wait())
        starting = asyncio.create_task(system.start())
        await asyncio.wait({stop_requested, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            output.say("Stopping what has been started; Ctrl-C again kills at once.")
            starting.cancel()  # `start` stops the processes that it has started
            await asyncio.wait({starting})
            output.say(_STOPPED)
            return 0
        runtime_file = starting.result()
        output.note(*await unreachable_provider_notes(plan.catalogue))
        output.say(startup_text(plan, runtime_file, port_taken=nats_port is None))
        running = asyncio.create_task(system.wait())
        try:
            await asyncio.wait({stop_requested, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            stop_requested.cancel()
            drain_s = plan.settings.drain_s
            output.say(
                f"Stopping: waiting up to {drain_s:g} s for requests in flight; Ctrl-C again kills at once."
            )
            await system.stop()
        output.say("Stopped; nothing is left running.")
    return 0


def _port(requested: int | None) -> int:
    """The port for nats-server's configuration; -1: any free one."""
    if requested is None:
        return _NATS_PORT if port_is_free(_NATS_PORT) else -1
    if requested and not port_is_free(requested):
        raise CommandError(
            f"port {requested} is taken; omit --nats-port, or use --nats-port 0 for a free one"
        )
    return requested or -1


def startup_text(
    plan: Plan,
    runtime_file: RuntimeFile,
    *,
    port_taken: bool = False,
    env: Mapping[str, str] = os.environ,
) -> str:
    """The addresses and paths of the running system; `port_taken`: another port than 4222 was not requested."""
    at = "" if plan.data == DEFAULT_DATA.absolute() else f" --data {plan.data}"
    facts = [("NATS", without_userinfo(runtime_file.nats_url))]
    if port_taken and plan.embedded and not runtime_file.nats_url.endswith(f":{_NATS_PORT}"):
        facts += [
            ("", f"Port {_NATS_PORT} is taken. In other directories set NATS_URL={runtime_file.nats_url}"),
            ("", f"or use --data {plan.data}."),
        ]
    if runtime_file.edge is not None:
        facts.append(("HTTP", f"{runtime_file.edge}/v1 for OpenAI clients"))
        if not env.get("PENSTOCK_EDGE_PORT") and not runtime_file.edge.endswith(f":{EDGE_PORT}"):
            facts.append(("", f"Port {EDGE_PORT} is taken; PENSTOCK_EDGE_PORT chooses another one"))
    facts += [(name, f"{http}/health  {http}/metrics") for name, http in runtime_file.services.items()]
    roles = ", ".join(plan.catalogue.roles)
    facts.append(("catalogue", f"{plan.catalogue.name} ({roles})"))
    if runtime_file.simulator is not None:
        facts.append(
            ("simulator", f"{runtime_file.simulator}/v1, its counts: {runtime_file.simulator}/sim/counts")
        )
    else:
        facts.append(("providers", provider_addresses(plan.catalogue)))
    facts.append(("traces", _traces(plan, at)))
    facts.append(("logs", f"{plan.log_dir}" + (f", {plan.data / 'nats'}" if plan.embedded else "")))
    width = max(len(name) for name, _ in facts)
    lines = ["Penstock is up. Ctrl-C stops it.", "", *(f"  {name:<{width}}  {fact}" for name, fact in facts)]
    name = command_name()
    if runtime_file.edge is not None:
        create_key = f"{name} keys create{at}" if runtime_file.edge_needs_key else None
        lines += ["", *_http_examples(runtime_file.edge, create_key)]
    lines += ["", f'  {name} ask{at} "Why is the sky blue?"', f"  {name} status{at}"]
    return "\n".join(lines)


def _http_examples(address: str, create_key: str | None) -> list[str]:
    """`create_key`: the command that creates an API key; None: any key is accepted."""
    body = (
        '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
    )
    if create_key is None:
        imports, key, header, export = "import openai", '"any"', "", []
    else:
        imports, key = "import openai, os", 'os.environ["API_KEY"]'
        header = ' -H "authorization: Bearer $API_KEY"'
        export = [f"  export API_KEY=$({create_key})"]
    client = f'openai.OpenAI(base_url="{address}/v1", api_key={key})'
    asked = 'model="auto", messages=[{"role": "user", "content": "Why is the sky blue?"}]'
    return [
        *export,
        f"  curl -N {address}/v1/chat/completions{header} -H 'content-type: application/json' -d '{body}'",
        "",
        f"  {imports}; client = {client}",
        f"  print(client.chat.completions.create({asked}).choices[0].message.content)",
    ]


def _traces(plan: Plan, at: str) -> str:
    if plan.trace_file is not None:
        return f"{plan.trace_file} ({command_name()} trace{at})"
    return "off (PENSTOCK_TRACES)" if plan.collector is None else f"OTLP to {plan.collector}"
