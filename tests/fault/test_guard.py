"""G2, G4, G6: the real guard with all services around it, while parts are slow, dead, frozen or without quota."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import nats
import pytest
from msgspec import Struct, field

from penstock.bus.direct_get import read_all
from penstock.bus.server_address import servers_of
from penstock.client.client import Client
from penstock.client.stream import Stream
from penstock.contract.events import GuardDecided, UsageRecorded
from penstock.contract.reply import Completed, Delta, Failed, ReplyEvent
from penstock.contract.streams import AUDIT, EVENTS
from tests.harness.guard.synthetic_values import synthetic
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, shared_system
from tests.harness.records.ledger_books import budget_status, nothing_held, provider_attempts, settlements
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask, simulator_answer, text_of
from tests.harness.suite.waiting import until

CHAT, SAFETY = "m-chat", "m-safety"
WAIT_S = 2.0
LEAST_WAIT_S = 1.5
"""Seconds that a request waits at least where it waits for a silent guard: `_SILENCE_WAIT_S` of runtime/guard."""
REDACTED = {"personal_data": "redact", "secrets": "redact"}
SHOWN = dict.fromkeys(REDACTED, "allow")
ACCOUNTS = ("shop", "echo", "open", "off")
REQUESTERS = 2 * len(ACCOUNTS)
DETECTORS = ("secrets", "personal_data", "safety_model")
PRICE = {"input": 1_000_000, "output": 1_000_000}
"""A price at which each token costs one micro-dollar."""
EMAIL = synthetic("email", random.Random(4))
TOKEN = synthetic("github_token", random.Random(5))
SLOW = {"tokens_per_second": 50, "first_token_ms": 50, "latency_ms": 0}
QUICK = {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0}
_DICE = random.Random(6)


def config(*, wait_s: float = WAIT_S, timeout_s: float = 1.8) -> str:
    """`timeout_s`: of the safety model."""
    safety = {"enabled": True, "timeout_s": timeout_s, "when_unavailable": "refuse"}
    return catalogue(
        models={CHAT: {"price": PRICE}},
        budgets={"accounts": {"shop": {"microusd_per_month": 2**50}}},
        guard={
            "input": {"hate": "block", **REDACTED},
            "output": REDACTED,
            "wait_s": wait_s,
            "detectors": {"safety_model": safety},
            "accounts": {
                "off": {"mode": "off"},
                "echo": {"input": {"personal_data": "allow"}},
                "open": {"input": SHOWN, "output": SHOWN},
            },
        },
    )


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("guard")
    env = {"PENSTOCK_TRACES": f"file:{directory / 'traces.jsonl'}"}
    workers = ("chat,logic", "safety")
    with shared_system(directory, *workers, config=config(), env=env, ledgers=1) as running:
        yield running


@pytest.fixture(autouse=True)
async def healthy(system: System) -> None:
    await system.sim("PUT", "speed", QUICK)
    await system.sim("PUT", "behaviour", {SAFETY: ""})
    await system.release_answers()


@asynccontextmanager
async def guards(system: System, number: int = 1, **env: str) -> AsyncIterator[list[Process]]:
    started = [system.new_guard(**env) for _ in range(number)]
    try:
        await asyncio.gather(*(guard.start() for guard in started))
        yield started
    finally:
        for guard in started:
            guard.kill()


def new_word() -> str:
    """Makes a text that no safety model has rated yet."""
    return "".join(_DICE.choices("bcdfghklmnpqrstvw", k=10))


def unsafe() -> str:
    return f"I hate all of them, says {new_word()}. [[tokens=60]]"


def shown(events: list[ReplyEvent]) -> list[Delta]:
    return [event for event in events if isinstance(event, Delta)]


async def unchecked(system: System) -> float:
    """How often a worker has let content pass without a check."""
    lines = (await system.metrics()).splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("penstock_worker_guard_unchecked_total")
    )


async def set_policy(system: System, account: str, *options: str) -> None:
    changed = await run_command(system, "guard", "set", account, *options)
    assert changed.code == 0, changed.notes


async def fail_open(system: System, account: str) -> None:
    options = (("--when-unavailable", f"{name}=allow") for name in DETECTORS)
    await set_policy(system, account, *(each for pair in options for each in pair))


async def test_g2_an_unsafe_stream_shows_nothing_and_what_it_used_is_settled(system: System) -> None:
    await system.sim("PUT", "speed", SLOW)
    await system.sim("PUT", "behaviour", {SAFETY: "slow=0.4"})
    async with guards(system), await system.client(account="shop") as client:
        prompt = f"I hate all of them, says {new_word()}. [[tokens=1500]]"
        received = await ask(client, prompt, role="chat", max_tokens=1500, timeout_s=60)
    failure = received.failed.error
    assert (failure.code, failure.categories, shown(received.events)) == ("blocked", ("hate",), []), failure
    assert received.took_s < 15, "the provider would have written for 30 s"
    (attempt,) = [each for each in await provider_attempts(system) if each.label.startswith(received.id)]
    assert attempt.outcome == "cancelled"
    assert 0 < attempt.completion_tokens < 1500
    await nothing_held(system, "shop", 10)
    (usage,) = [each for each in await stored_events(system, UsageRecorded) if each.id == received.id]
    assert usage.outcome == "blocked"
    (booked,) = [each for each in await settlements(system) if each.id.endswith(received.id)]
    assert booked.picousd == usage.cost_picousd > 0
    status = await budget_status(system, "account", "shop")
    assert (status.held_microusd, status.open_holds) == (0, 0)
    assert status.spent_this_month_microusd > 0


class _Asked(Struct, frozen=True):
    account: str
    is_unsafe: bool
    word: str
    began_s: float
    received: ReceivedReply


class _Load(Struct):
    """Requests of all accounts, one after the other each, until it is left."""

    system: System
    asked: list[_Asked] = field(default_factory=list)
    stopped: bool = False

    @classmethod
    @asynccontextmanager
    async def running(cls, system: System) -> AsyncIterator[_Load]:
        load = cls(system)
        async with AsyncExitStack() as stack:
            clients = {
                name: await stack.enter_async_context(await system.client(account=name)) for name in ACCOUNTS
            }
            asking = [
                asyncio.create_task(load._ask(clients[name], name, is_unsafe=is_unsafe))
                for name in ACCOUNTS
                for is_unsafe in (False, True)
            ]
            try:
                yield load
            finally:
                load.stopped = True
                await asyncio.gather(*asking)

    async def _ask(self, client: Client, account: str, *, is_unsafe: bool) -> None:
        while not self.stopped:
            word = new_word()
            what = "I hate all of them" if is_unsafe else "Good morning"
            prompt = f"{what}, {word} {EMAIL} [[tokens=50]]"
            role = "logic" if account == "off" else "chat"
            began_s = time.monotonic()
            received = await ask(client, prompt, role=role, max_tokens=50, timeout_s=30)
            self.asked.append(_Asked(account, is_unsafe, word, began_s, received))
            await asyncio.sleep(0.1)

    async def all_decided_again(self) -> list[_Asked]:
        """Wait until each requester has begun and ended a request from now on; returns these requests."""
        now_s = time.monotonic()
        found: list[_Asked] = []

        def decided() -> bool:
            found[:] = [each for each in self.asked if each.began_s >= now_s]
            return len({(each.account, each.is_unsafe) for each in found}) == REQUESTERS

        await until(decided, 30)
        return found

    def check(self) -> None:
        """What holds at any time, whatever happens to guards."""
        for each in self.asked:
            received, text = each.received, each.received.text
            if each.account == "off":
                assert received.code is None
                assert EMAIL in text
                assert received.took_s < LEAST_WAIT_S, "it waited for a guard"
                continue
            if each.account == "open":
                assert received.code in ({None, "blocked"} if each.is_unsafe else {None})
            elif each.is_unsafe:
                assert received.code in {"blocked", "guard_unavailable"}
                assert shown(received.events) == []
            else:
                assert received.code in {None, "guard_unavailable"}
            if each.account == "echo":  # the model quotes the address, which is no part of what it may show
                assert EMAIL not in text_of(received.events)
            if received.code is None and each.account == "shop":
                assert f"{each.word} {EMAIL}" in text


def codes(asked: list[_Asked], *accounts: str, is_unsafe: bool) -> set[str | None]:
    return {each.received.code for each in asked if each.account in accounts and each.is_unsafe == is_unsafe}


def check_all_checked(asked: list[_Asked]) -> None:
    assert codes(asked, *ACCOUNTS, is_unsafe=False) == {None}
    assert codes(asked, "shop", "echo", "open", is_unsafe=True) == {"blocked"}


async def test_g4_policies_decide_while_the_only_guard_is_dead_or_frozen(system: System) -> None:
    await fail_open(system, "open")
    async with guards(system) as running, _Load.running(system) as load:
        check_all_checked(await load.all_decided_again())
        for how in (signal.SIGSTOP, signal.SIGKILL):
            passed = await unchecked(system)
            running[0].signal(how)
            asked = await load.all_decided_again()
            assert codes(asked, "shop", is_unsafe=False) == {"guard_unavailable"}
            assert codes(asked, "shop", is_unsafe=True) == {"guard_unavailable"}
            assert codes(asked, "open", "off", is_unsafe=True) == {None}
            assert await unchecked(system) > passed
            if how == signal.SIGSTOP:
                running[0].signal(signal.SIGCONT)
            else:
                running.append(system.new_guard())
                await running[-1].start()
            await load.all_decided_again()  # the last of them that waited for the guard
            passed = await unchecked(system)
            check_all_checked(await load.all_decided_again())
            assert await unchecked(system) == passed
    load.check()


async def test_g4_another_guard_checks_for_one_that_is_frozen_or_killed(system: System) -> None:
    await fail_open(system, "open")
    async with guards(system, 2) as running, _Load.running(system) as load:
        await load.all_decided_again()
        running[0].signal(signal.SIGSTOP)
        await load.all_decided_again()
        running[0].kill()
        await load.all_decided_again()
        passed = await unchecked(system)
        check_all_checked(await load.all_decided_again())
        assert await unchecked(system) == passed
    load.check()


async def test_g3_what_may_be_a_finding_waits_for_a_frozen_guard_in_mid_stream(system: System) -> None:
    names, prompt = ("closed", "unfiltered"), f"The address is {EMAIL}, {new_word()}. [[tokens=40]]"
    for name in names:
        allowed = ("--input", "hate=allow", "--input", "personal_data=allow", "--input", "secrets=allow")
        await set_policy(system, name, *allowed)
    await fail_open(system, "unfiltered")
    await system.hold_answers(3)
    async with guards(system) as running, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await system.client(account=name)) for name in names]
        passed = await unchecked(system)
        streams = [client.stream(prompt, role="chat", timeout_s=30) for client in clients]
        closed: list[ReplyEvent] = []
        passing: list[ReplyEvent] = []
        reading = [
            asyncio.create_task(read(stream, events))
            for stream, events in zip(streams, (closed, passing), strict=True)
        ]
        await until(lambda: bool(shown(closed) and shown(passing)))
        running[0].signal(signal.SIGSTOP)
        await system.release_answers()
        await asyncio.gather(*reading)
        assert await unchecked(system) > passed
    assert isinstance(closed[-1], Failed)
    assert closed[-1].error.code == "guard_unavailable"
    answer = await simulator_answer(system, CHAT, prompt)
    before, _, _ = answer.partition(EMAIL)
    assert before.startswith(text_of(closed))
    assert isinstance(passing[-1], Completed)
    assert text_of(passing) == answer


async def read(stream: Stream, events: list[ReplyEvent]) -> None:
    async for event in stream:
        events.append(event)  # noqa: PERF401 - the test reads them meanwhile


async def test_g2_g6_a_request_whose_worker_is_killed_is_checked_and_redacted_again(system: System) -> None:
    patient = system.directory / "patient.yaml"
    patient.write_text(config(wait_s=40, timeout_s=30))
    system.workers[0].kill()
    system.workers[0] = system.new_worker("chat,logic", PENSTOCK_CATALOGUE=str(patient))
    await system.workers[0].start()
    await system.sim("PUT", "behaviour", {SAFETY: "slow=20"})
    prompt = f"Write to {EMAIL} and {new_word()}. [[tokens=60]]"
    async with guards(system, PENSTOCK_CATALOGUE=str(patient)), await system.client(account="shop") as client:
        before = await answered(system)
        harmless, harmful = (
            asyncio.create_task(ask(client, each, role="chat", timeout_s=40)) for each in (prompt, unsafe())
        )

        async def held_back() -> bool:
            return await answered(system) == before + 2

        await until(held_back)
        system.workers[0].kill()
        await system.sim("PUT", "behaviour", {SAFETY: ""})
        system.workers[0] = system.new_worker("chat,logic")
        await system.workers[0].start()
        answer, blocked = await asyncio.gather(harmless, harmful)
    redacted = prompt.replace(EMAIL, "[EMAIL_1]")
    assert await received_prompts(system, redacted) == 2
    assert answer.text == (await simulator_answer(system, CHAT, redacted)).replace("[EMAIL_1]", EMAIL)
    assert EMAIL in answer.text
    assert {each.attempt for each in shown(answer.events)} == {2}
    assert (blocked.code, shown(blocked.events)) == ("blocked", [])
    verdicts = [each for each in await stored_events(system, GuardDecided) if each.id == answer.id]
    assert [each.findings for each in verdicts] == [{"personal_data/email": 1}] * 2


async def answered(system: System) -> int:
    counts = (await system.sim("GET", "counts"))["models"].get(CHAT, {})
    return int(counts.get("ok", 0))


async def received_prompts(system: System, prompt: str) -> int:
    """How many of the last requests to the chat model had exactly this prompt."""
    messages = [{"role": "user", "content": prompt}]
    text = json.dumps(messages, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    requests = (await system.sim("GET", "counts"))["requests"]
    return sum((each["model"], each["sha256"]) == (CHAT, digest) for each in requests)


async def test_g2_a_changed_policy_applies_within_a_second(system: System) -> None:
    async with guards(system), await system.client(account="changing") as client:

        async def code() -> str | None:
            prompt = f"Write to {EMAIL}, {new_word()}. [[tokens=20]]"
            return (await ask(client, prompt, role="chat")).code

        assert await code() is None
        for options, expected in (
            (("--input", "personal_data=block"), "blocked"),  # decided by the guard
            (("--mode", "off"), None),  # decided by the worker
            (("--mode", "inherit"), "blocked"),
        ):
            await set_policy(system, "changing", *options)
            changed_s = time.monotonic()
            while await code() != expected:
                assert time.monotonic() - changed_s < 1


async def test_g2_no_content_is_in_traces_logs_metrics_and_events(system: System) -> None:
    word, other = new_word(), new_word()
    async with guards(system) as running:
        async with await system.client(account="shop") as client:
            blocked = await ask(client, f"I hate all of them, {word}", role="chat")
            redacted = await ask(client, f"Take {TOKEN} for {EMAIL}", role="chat")
        async with await system.client(account="echo") as client:
            quoted = await ask(client, f"Hello, {EMAIL}", role="chat")
        running[0].signal(signal.SIGSTOP)
        async with await system.client(account="shop") as client:
            refused = await ask(client, f"Good evening, {other} {EMAIL}", role="chat")
        running[0].signal(signal.SIGCONT)
        metrics = await system.metrics()
        await running[0].terminate()
    received = [blocked, redacted, quoted, refused]
    assert [each.code for each in received] == ["blocked", None, None, "guard_unavailable"]
    assert TOKEN in redacted.text
    assert EMAIL not in quoted.text

    def traced() -> bool:
        trace = (system.directory / "traces.jsonl").read_text()
        return all(each.id in trace for each in received)

    await until(traced)
    files = [
        *system.directory.rglob("*.log"),
        *system.directory.rglob("*.out"),
        *system.directory.glob("*.jsonl"),
    ]
    nc = await nats.connect(servers_of(system.nats.url))
    events = [
        msg.data.decode()
        for stream in (AUDIT, EVENTS)
        async for msg in read_all(nc, stream.name, stream.subjects[0])
    ]
    await nc.close()
    assert any(blocked.id in event for event in events)
    for text in (metrics, *events, *(file.read_text(errors="replace") for file in files)):
        for content in (EMAIL, TOKEN, word, other, "hate all"):
            assert content not in text


async def test_g4_the_exhausted_quota_of_the_safety_model_is_its_own(system: System) -> None:
    await fail_open(system, "passing")
    async with (
        guards(system) as running,
        await system.client(account="shop") as closed,
        await system.client(account="passing") as open_,
        await system.client(account="off") as off,
    ):
        assert (await ask(closed, f"Good morning, {new_word()}", role="chat")).completed
        await system.sim("PUT", "limits", {SAFETY: {"requests_per_minute": 1}})

        async def exhausted() -> bool:
            return (await ask(closed, f"Good morning, {new_word()}", role="chat")).code == "guard_unavailable"

        await until(exhausted)
        prompts = [f"Write to {EMAIL}, {new_word()}. [[tokens=20]]" for _ in range(4)]
        answers = await asyncio.gather(*(ask(open_, each, role="chat") for each in prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            redacted = prompt.replace(EMAIL, "[EMAIL_1]")
            expected = (await simulator_answer(system, CHAT, redacted)).replace("[EMAIL_1]", EMAIL)
            assert answer.text == expected
        other = await ask(off, f"Hello, {EMAIL}", role="logic")
        assert other.completed
        assert other.took_s < LEAST_WAIT_S
        refused = await ask(closed, f"Good evening, {EMAIL}, {new_word()}", role="chat")
        assert (refused.code, shown(refused.events)) == ("guard_unavailable", [])
        metrics = await system.metrics(running[0])
        await running[0].terminate()
    assert failures(metrics).keys() == {"safety_model"}
    decided = [each for each in await stored_events(system, GuardDecided) if each.id == answers[-1].id]
    assert {(each.unchecked_by, each.refused) for each in decided} == {
        ((), False),
        (("safety_model",), False),
    }


def failures(metrics: str) -> dict[str, float]:
    """Failed checks by detector."""
    found = re.findall(
        r'^penstock_guard_detector_failures_total{detector="(\w+)".*} ([0-9.]+)$', metrics, re.MULTILINE
    )
    return {detector: float(number) for detector, number in found if float(number)}
