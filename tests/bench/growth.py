"""How the CPU of a request grows: with requests in flight, workers, users, and the length of the prompt.

Each step of a series is compared with the cheapest one before it. Steps are measured in turn, in rounds, except users:
a router keeps what it knows of a user, so that a smaller number has to come first. Each number of workers has so many
requests in flight that a worker always has the same number. The processes are forked, because the imports of all
workers would take minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from penstock.client.client import Client
from tests.bench.cpu import cpu_s, spent_ms
from tests.bench.load import Ask, run
from tests.bench.subjects import MODEL, PROMPT
from tests.bench.targets import Target, medians, text_table
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system

__all__ = ["growth_figures", "growth_table", "growth_targets"]

ROUNDS: Final = 3
IN_FLIGHT: Final = {1: 100, 16: 300, 64: 400, 256: 600, 1_000: 1_500}
"""Requests of a round, by the number in flight."""
WORKERS: Final = (1, 4, 16)
USERS: Final = (10, 1_000, 10_000)
LENGTHS: Final = {1_000: 300, 8_000: 300, 1_000_000: 16}
"""Requests of a round, by the characters of the prompt."""
PROCESSES: Final = ("client", "router", "worker", "nats_server")
ACK_WAIT: Final = {"PENSTOCK_ACK_WAIT_S": "10"}
"""The default of services. With that of the tests, 2 s, work in progress is reported more often while many wait."""
GROWS: Final = 1.2
"""Above this, a step counts as more expensive than the cheapest one before it."""


class _Step(Struct, frozen=True):
    system: System
    ask: Ask
    at_once: int
    requests: int


async def growth_figures(directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """`growth`: by series and step, CPU in milliseconds per request, by process and of all (`sum`)."""
    async with AsyncExitStack() as stack:
        systems = {
            count: await stack.enter_async_context(
                _running(directory / str(count), count, {**env, **ACK_WAIT})
            )
            for count in WORKERS
        }
        clients = {
            count: await stack.enter_async_context(await system.client()) for count, system in systems.items()
        }
        one, client = systems[1], clients[1]
        for count, each in clients.items():  # the first requests of each worker cost more
            await run(_asking(each), at_once=16 * count, total=100 * count + 200)
        return {
            "growth": {
                "in flight": await _rounds(
                    {at: _Step(one, _asking(client), at, total) for at, total in IN_FLIGHT.items()}
                ),
                "workers": await _rounds(
                    {
                        count: _Step(systems[count], _asking(clients[count]), 16 * count, 300 + 50 * count)
                        for count in WORKERS
                    }
                ),
                "characters": await _rounds(
                    {
                        length: _Step(one, _asking(client, length=length), 16, total)
                        for length, total in LENGTHS.items()
                    }
                ),
                "users": {
                    str(count): await _measured(
                        _Step(one, _asking(client, users=count), 64, max(1_000, count))
                    )
                    for count in USERS
                },
            }
        }


def _running(directory: Path, workers: int, env: Mapping[str, str]) -> Any:
    directory.mkdir()
    config = catalogue(
        {"chat": [MODEL]},
        roles={"chat": {"slots_per_worker": 1_024}},
        models={MODEL: {"context_tokens": max(LENGTHS)}},
    )
    return running_system(directory, *["chat"] * workers, config=config, env=env)


def _asking(client: Client, *, users: int = 0, length: int = len(PROMPT)) -> Ask:
    """A request of this many characters, each of the next of so many users; 0: of no user."""
    numbers = itertools.count()
    prompt = (PROMPT * (1 + length // len(PROMPT)))[:length]

    async def ask() -> None:
        user = f"user-{next(numbers) % users}" if users else ""
        reply = await client.chat(prompt, role="chat", user=user, max_tokens=5000)
        assert reply.finish_reason == "stop", reply

    return ask


async def _rounds(steps: Mapping[int, _Step]) -> dict[str, Any]:
    return medians(
        [{str(value): await _measured(step) for value, step in steps.items()} for _ in range(ROUNDS)]
    )


async def _measured(step: _Step) -> dict[str, float]:
    before = cpu_s(step.system)
    await run(step.ask, at_once=step.at_once, total=step.requests)
    spent = spent_ms(before, cpu_s(step.system), step.requests)
    ours = {name: spent[name] for name in PROCESSES}
    return {**ours, "sum": round(sum(ours.values()), 3)}


def growth_targets(report: dict[str, Any]) -> list[Target]:
    """For each step after the first of its series, except the longest prompt: every process reads and writes all of its
    characters.
    """
    return [
        Target(f"CPU ms at {step} {series} / at the cheapest step before", steps[step]["sum"], GROWS, ratio)
        for series, steps in report["growth"].items()
        for step, ratio in _ratios(steps).items()
        if int(step) < max(LENGTHS)
    ]


def growth_table(report: dict[str, Any]) -> str:
    rows: list[Sequence[str]] = []
    for series, steps in report["growth"].items():
        ratios = _ratios(steps)
        rows += [
            (
                f"{step} {series}",
                *(f"{figures[name]:.2f}" for name in (*PROCESSES, "sum")),
                f"{ratios[step]:.2f}" if step in ratios else "",
            )
            for step, figures in steps.items()
        ]
    return text_table(("CPU ms per request", *PROCESSES, "sum", "ratio"), rows)


def _ratios(steps: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Of each step but the first, to the cheapest one before it."""
    sums = [figures["sum"] for figures in steps.values()]
    return {step: round(sums[number] / min(sums[:number]), 3) for number, step in enumerate(steps) if number}
