"""F1, F2, F4: under failures of every kind the ledger's books equal the provider's own count, attempt by attempt."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from pathlib import Path

import nats
import pytest

from penstock import PenstockError
from penstock.bus.direct_get import read_page
from penstock.bus.server_address import servers_of
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.spend import SpendQuery
from penstock.contract.streams import EVENTS
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.records.ledger_books import (
    ProviderAttempt,
    attempts_by_name,
    budget_status,
    nothing_held,
    provider_attempts,
    settlements,
    spend,
)
from tests.harness.suite.proofs import report_figures

REQUESTS = 20_000
AT_ONCE = 48
ACCOUNTS = ("shop", "bank", "school")
ROLES = ("chat", "coding", "logic", "fast")
WORKERS = ("chat,coding", "all")
CHAINS = {
    "chat": ["m-chat--flaky=0.2", "m-chat-2"],
    "coding": ["m-coding--cut=8", "m-coding-2"],
    "logic": ["m-logic--error-event=8", "m-logic-2"],
    "fast": ["m-fast"],
}
PRICE = {"input": 150_000, "output": 600_001}
DEADLINE_S = 60.0
KILL_EVERY_S = 3.0
SERVER_AT = (REQUESTS // 3, 2 * REQUESTS // 3)
CANCELLED, REPEATED = 0.04, 0.02
"""Shares of the requests that are cancelled, and of the usage events that are stored a second time."""
LONG_AGO_S = 3_600


@pytest.mark.prove
@pytest.mark.timeout(1_800)
async def test_f1_f2_the_books_equal_the_providers_count_under_failures_of_every_kind(tmp_path: Path) -> None:
    config = catalogue(
        CHAINS,
        models={model: {"price": PRICE} for chain in CHAINS.values() for model in chain},
        budgets={"every_account": {"microusd_per_month": 2**50}, "every_user": {"tokens_per_day": 2**50}},
    )
    async with running_system(tmp_path, *WORKERS, config=config, ledgers=3) as system:
        await system.sim("PUT", "speed", {"tokens_per_second": 400, "first_token_ms": 10, "latency_ms": 0})
        clients = [await system.client(account=account) for account in ACCOUNTS]
        load = _Load(clients, random.Random(11))
        disturbing = [
            asyncio.create_task(_kill(system, load, random.Random(7))),
            asyncio.create_task(_repeat_usage_events(system, random.Random(5))),
        ]
        try:
            await load.run()
        finally:
            for task in disturbing:
                task.cancel()
        kills, repeated = await asyncio.gather(*disturbing)
        for client in clients:
            await client.close()

        for account in ACCOUNTS:
            await nothing_held(system, account, DEADLINE_S + 30)
        made, booked = await provider_attempts(system), await settlements(system)
        report_figures(f"ledger: {REQUESTS} requests: {dict(load.outcomes)}")
        report_figures(f"killed: {dict(kills)}; usage events stored again: {repeated}")
        report_figures(_compare(made, booked))
        assert kills["nats-server"] == len(SERVER_AT)
        assert min(kills["router"], kills["worker"], kills["ledger"]) >= 3
        await _check_reports(system, booked)


def _compare(made: list[ProviderAttempt], booked: list[Settled]) -> str:
    """Every attempt of the provider is booked once; with the provider's own tokens where it reported them."""
    bookings = attempts_by_name(booked)
    assert set(bookings.values()) == {1}
    by_name = {f"{each.id.rpartition('.')[2]}.{each.attempt}": each for each in booked}
    names = [attempt.label for attempt in made]
    assert len(names) == len(set(names))
    assert set(names) <= by_name.keys()
    never_sent = by_name.keys() - set(names)
    assert all(by_name[name].estimated for name in never_sent)
    reported = [each for each in made if each.outcome == "ok" and not by_name[each.label].estimated]
    for attempt in reported:
        booking = by_name[attempt.label]
        used = (booking.input_tokens, booking.output_tokens)
        assert used == (attempt.prompt_tokens, attempt.completion_tokens), attempt
        assert booking.picousd == used[0] * PRICE["input"] + used[1] * PRICE["output"]
    refused = [each for each in made if isinstance(each.outcome, int)]
    lost = [
        each for each in refused if by_name[each.label].estimated
    ]  # the worker was killed with the refusal
    assert all(by_name[each.label].picousd == 0 for each in refused if each not in lost)
    assert len(lost) <= len(never_sent) + AT_ONCE
    tokens = sum(each.prompt_tokens + each.completion_tokens for each in reported)
    outcomes = Counter(str(each.outcome) for each in made)
    return (
        f"attempts of the provider {len(made)} ({dict(outcomes)}), booked {len(booked)}, never sent "
        f"{len(never_sent)}, lost after a refusal {len(lost)}; {len(reported)} with reported usage, {tokens} "
        "tokens, all equal"
    )


async def _check_reports(system: System, booked: list[Settled]) -> None:
    now_s = int(time.time())
    report = await spend(
        system, SpendQuery(since_s=now_s - LONG_AGO_S, until_s=now_s + LONG_AGO_S, by=("account",))
    )
    assert report.total.attempts == len(booked)
    assert report.total.picousd == sum(each.picousd for each in booked)
    for row in report.rows:
        own = [each for each in booked if each.account == row.key.account]
        assert row.amounts.picousd == sum(each.picousd for each in own)
        status = await budget_status(system, "account", row.key.account)
        assert abs(status.spent_this_month_microusd - row.amounts.picousd / 1_000_000) < 1
    verified = await run_command(system, "ledger", "verify")
    report_figures(f"penstock ledger verify: {verified.out.strip().splitlines()[-1]}")
    assert verified.code == 0, verified.out + verified.notes


class _Load:
    """Requests of several accounts and users; some are cancelled in mid-stream."""

    def __init__(self, clients: list[Client], dice: random.Random) -> None:
        self._clients = clients
        self._dice = dice
        self._numbers = itertools.count()
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._one_after_another())

    async def _one_after_another(self) -> None:
        while (number := next(self._numbers)) < REQUESTS:
            client = self._clients[number % len(self._clients)]
            role = ROLES[number // len(self._clients) % len(ROLES)]
            prompt = f"Where does {number} go? [[tokens={10 + number % 30}]]"
            cancelled_after = self._dice.randrange(1, 10) if self._dice.random() < CANCELLED else None
            try:
                await self._ask(client, prompt, role, f"user-{number % 50}", cancelled_after)
            except PenstockError as error:
                self.outcomes[getattr(error, "code", type(error).__name__)] += 1
            else:
                self.outcomes["completed" if cancelled_after is None else "left"] += 1

    async def _ask(
        self, client: Client, prompt: str, role: str, user: str, cancelled_after: int | None
    ) -> None:
        events = 0
        async with client.stream(prompt, role=role, user=user, max_tokens=64, timeout_s=DEADLINE_S) as stream:
            async for _ in stream:
                events += 1
                if events == cancelled_after:  # leaving the stream cancels the request
                    return


async def _kill(system: System, load: _Load, dice: random.Random) -> Counter[str]:
    """Kill random processes until cancelled; each is started again before the next kill."""
    kills: Counter[str] = Counter()
    try:
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            server_kills = kills["nats-server"]
            if server_kills < len(SERVER_AT) and load.outcomes.total() >= SERVER_AT[server_kills]:
                kills["nats-server"] += 1
                system.nats.kill()
                await system.nats.start()
                continue
            victim = dice.choice(("router", "worker", "ledger", "ledger"))
            kills[victim] += 1
            if victim == "router":
                system.router = await _replaced(system.router, system.new_router())
            elif victim == "worker":
                place = dice.randrange(len(WORKERS))
                system.workers[place] = await _replaced(
                    system.workers[place], system.new_worker(WORKERS[place])
                )
            else:
                place = dice.randrange(len(system.ledgers))
                system.ledgers[place] = await _replaced(system.ledgers[place], system.new_ledger())
    except asyncio.CancelledError:
        return kills


async def _replaced(old: Process, new: Process) -> Process:
    old.kill()
    await new.start()
    return new


async def _repeat_usage_events(system: System, dice: random.Random) -> int:
    """Store some usage events again, under other message ids, until cancelled."""
    nc = await nats.connect(servers_of(system.nats.url), max_reconnect_attempts=-1)
    repeated, sequence = 0, 1
    try:
        while True:
            await asyncio.sleep(1.0)
            try:
                page = await read_page(nc, EVENTS.name, subjects.USAGE_ALL, sequence=sequence)
                for msg in page.messages:
                    headers = msg.headers or {}
                    if "repeated" not in headers and dice.random() < REPEATED:
                        again = {"repeated": "1"}
                        await nc.jetstream().publish(headers["Nats-Subject"], msg.data, headers=again)
                        repeated += 1
                    sequence = int(headers["Nats-Sequence"]) + 1
            except (nats.errors.Error, TimeoutError):
                continue  # the server is being restarted
    except asyncio.CancelledError:
        return repeated
    finally:
        await nc.close()
