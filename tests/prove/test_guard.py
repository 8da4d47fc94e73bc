"""G2, G3, G4, G6: with guards and workers dying and freezing, nothing unsafe is shown and nothing redacted leaves."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from msgspec import Struct, field

from penstock.client.client import Client
from penstock.contract.events import GuardDecided
from penstock.contract.reply import Completed, Delta, Restarted
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.harness.guard.guarded_prompts import MODEL, POLICIES, GuardedPrompt, guarded_prompts
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.providers.recording_proxy import RecordingProxy
from tests.harness.records.ledger_books import provider_attempts
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask, text_of
from tests.harness.suite.proofs import report_figures

ROLES = "chat,safety"
"""Of every worker: a safety model is asked through the same workers that wait for its verdict."""
WORKERS = GUARDS = 3
QUIET, DISTURBED = 400, 4_000
"""Requests before the first failure, and during failures."""
LEAST, MOST_S = 500, 100.0
"""Of the latter, at least so many are made in so many seconds on a slow machine."""
AT_ONCE = 24
SPEED = {"tokens_per_second": 250, "first_token_ms": 20, "latency_ms": 0}
SAFE_ANSWERED = 0.7
"""Share of the safe requests that must be answered while guards and workers die."""
PAUSE_S, FROZEN_S = (0.5, 2.0), (0.5, 4.0)
START_S = 90.0
"""For the start of a process under load."""
ID = re.compile(r"q\d{5}")


def config(port: int) -> str:
    """`port`: of a proxy before the simulator."""
    safety = {"enabled": True, "timeout_s": 8, "when_unavailable": "refuse"}
    guard = {**POLICIES, "wait_s": 9, "detectors": {"safety_model": safety}}
    address = f"http://127.0.0.1:{port}"
    return catalogue({"chat": [MODEL]}, guard=guard).replace("${PENSTOCK_SIMULATOR_URL}", address)


@pytest.mark.prove
@pytest.mark.timeout(300)
async def test_g2_g6_nothing_unsafe_is_shown_and_nothing_redacted_leaves_while_processes_die(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    detectors = (PersonalDataDetector(), SecretDetector(tmp_path))
    prompts = guarded_prompts(random.Random(11), detectors)
    port = free_port()
    async with (
        running_system(tmp_path, *[ROLES] * WORKERS, config=config(port)) as system,
        AsyncExitStack() as stack,
    ):
        proxy = await stack.enter_async_context(RecordingProxy.before(system.simulator.ready["url"], port))
        guards = [system.new_guard() for _ in range(GUARDS)]
        await asyncio.gather(*(guard.start() for guard in guards))
        clients = {
            account: await stack.enter_async_context(await system.client(account=account))
            for account in POLICIES["accounts"]
        }
        await system.sim("PUT", "speed", SPEED)
        load = _Load(clients, prompts)
        began_s = time.monotonic()
        await load.run(QUIET)
        quiet, quiet_s = load.taken(), time.monotonic() - began_s
        events = await _events(system)
        assert {each.received.code for each in quiet} == {None, "blocked"}
        _check(quiet)
        for each in quiet:
            assert events.findings.pop(each.received.id, Counter()) == each.prompt.findings, each.prompt
        assert not events.findings

        disturber = _Disturber(system, guards, random.Random(7))
        disturbing = asyncio.create_task(disturber.run())
        began_s = time.monotonic()
        await load.run(DISTURBED, MOST_S)
        disturbing.cancel()
        with suppress(asyncio.CancelledError):
            await disturbing
        disturbed, disturbed_s = load.taken(), time.monotonic() - began_s
        _check(disturbed)
        events = await _events(system)
        for each in disturbed:
            assert events.findings.get(each.received.id, Counter()) <= each.prompt.findings, each.prompt
        attempts = await provider_attempts(system)
        sent = _check_sent([*quiet, *disturbed], proxy)

    safe = [each for each in disturbed if not each.prompt.is_unsafe]
    answered = sum(each.received.code is None for each in safe)
    report_figures(f"quiet: {len(quiet)} requests in {quiet_s:.0f} s: {_outcomes(quiet)}")
    report_figures(f"disturbed: {len(disturbed)} requests in {disturbed_s:.0f} s: {_outcomes(disturbed)}")
    report_figures(f"processes: {dict(disturber.done)}; safe requests answered: {answered / len(safe):.1%}")
    report_figures(
        f"bodies sent: {sent}; calls cancelled: {sum(each.outcome == 'cancelled' for each in attempts)}; "
        f"findings in events of the quiet requests: {sum(sum(each.prompt.findings.values()) for each in quiet)}, "
        f"all equal; events of repeated checks: {events.repeated}"
    )
    assert len(disturbed) >= LEAST
    assert answered >= SAFE_ANSWERED * len(safe)
    assert len(disturber.done) == 4


class _Asked(Struct, frozen=True):
    prompt: GuardedPrompt
    stream: bool
    received: ReceivedReply


class _Load(Struct):
    clients: dict[str, Client]
    prompts: Iterator[GuardedPrompt]
    asked: list[_Asked] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: iter(()))

    async def run(self, requests: int, most_s: float | None = None) -> None:
        self.numbers = iter(range(requests))
        until_s = None if most_s is None else time.monotonic() + most_s
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._one_after_another(until_s))

    def taken(self) -> list[_Asked]:
        taken, self.asked = self.asked, []
        return taken

    async def _one_after_another(self, until_s: float | None) -> None:
        for number in self.numbers:
            if until_s is not None and time.monotonic() > until_s:
                return
            prompt, stream = next(self.prompts), number % 2 == 0
            client = self.clients[prompt.account]
            received = await ask(client, prompt.text, role="chat", stream=stream, timeout_s=60)
            self.asked.append(_Asked(prompt, stream, received))


def _check(asked: Sequence[_Asked]) -> None:
    """What a user sees of each request."""
    for each in asked:
        prompt, received = each.prompt, each.received
        output = [event for event in received.events if isinstance(event, Delta)]
        if prompt.is_unsafe:
            assert received.code in {"blocked", "guard_unavailable"}, (prompt, received)
            assert output == [], prompt
            continue
        assert received.code in {None, "guard_unavailable"}, (prompt, received)
        if received.code is None:
            assert received.text == prompt.answer, prompt
            _check_report(prompt, received.completed)
            continue
        # A guard can go while an answer streams: what was shown until then is the beginning of it.
        assert prompt.answer.startswith(text_of(received.events)), prompt
        shown = "".join("\0" if isinstance(event, Restarted) else event.text for event in output)
        assert prompt.account != "echo" or not any(value in shown for value in prompt.values)


def _check_report(prompt: GuardedPrompt, completed: Completed) -> None:
    reported: Counter[str] = Counter()
    for each in completed.guarded:
        reported[each.name] += each.count
    assert reported == prompt.findings, (prompt, completed.guarded)


class _Events(Struct):
    """What stored events say of each request."""

    findings: dict[str, Counter[str]] = field(default_factory=dict)
    """Without repetitions: a check is repeated where its worker or its guard has not reported for some time."""
    repeated: int = 0


async def _events(system: System) -> _Events:
    """Events are stored behind their verdicts: read until no more come."""
    count = -1
    while count != (count := len(events := await stored_events(system, GuardDecided))):
        await asyncio.sleep(0.5)
    found = _Events()
    known: set[str] = set()
    for event in events:
        check = f"{event.id} {event.direction} {sorted(event.findings.items())}"
        if event.findings and check in known:
            found.repeated += 1
        else:
            known.add(check)
            found.findings.setdefault(event.id, Counter()).update(event.findings)
    return found


def _check_sent(asked: Sequence[_Asked], proxy: RecordingProxy) -> int:
    """No value that is redacted, and no request that is blocked before its call, has left; returns the bodies."""
    prompts = {each.prompt.id: each.prompt for each in asked}
    bodies = list(proxy.bodies())
    for body in bodies:
        try:
            request = json.loads(body)
            model, text = request["model"], "\n".join(each["content"] for each in request["messages"])
        except ValueError:  # the worker was killed meanwhile
            model, text = "", body.decode(errors="replace").replace("\\n", "\n")
        for prompt in (prompts[id_] for id_ in set(ID.findall(text)) if id_ in prompts):
            assert prompt.reaches_the_provider or not any(value in text for value in prompt.values), prompt
            assert prompt.is_called or model != MODEL, prompt
    return len(bodies)


def _outcomes(asked: Sequence[_Asked]) -> str:
    counted = Counter(
        f"{'unsafe' if each.prompt.is_unsafe else 'safe'} {each.received.code or 'answered'}"
        for each in asked
    )
    return ", ".join(f"{outcome} {number}" for outcome, number in sorted(counted.items()))


class _Disturber:
    """Kills and freezes one guard and one worker at a time, until it is cancelled."""

    def __init__(self, system: System, guards: list[Process], dice: random.Random) -> None:
        self._system = system
        self._guards = guards
        self._dice = dice
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._disturb("guards", self._guards, self._system.new_guard))
            group.create_task(
                self._disturb("workers", self._system.workers, lambda: self._system.new_worker(ROLES))
            )

    async def _disturb(self, what: str, processes: list[Process], new: Callable[[], Process]) -> None:
        while True:
            for how in self._dice.sample(("killed", "frozen"), 2):
                await asyncio.sleep(self._dice.uniform(*PAUSE_S))
                place = self._dice.randrange(len(processes))
                if how == "killed":
                    processes[place].kill()
                    processes[place] = new()
                    await processes[place].start(timeout_s=START_S)
                else:
                    await self._freeze(processes[place])
                self.done[f"{what} {how}"] += 1

    async def _freeze(self, process: Process) -> None:
        process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._dice.uniform(*FROZEN_S))
        finally:
            process.signal(signal.SIGCONT)
