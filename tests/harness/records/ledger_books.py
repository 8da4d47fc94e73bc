"""What the ledger has booked, and the provider's own count of the same attempts."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import nats
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all
from penstock.bus.server_address import servers_of
from penstock.contract import codec, subjects
from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.policies import Scope
from penstock.contract.ledger.spend import SpendQuery, SpendReport
from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from penstock.contract.streams import JOURNAL
from penstock.runtime.heartbeat import read_presence
from tests.harness.processes.process import Process
from tests.harness.processes.system import System
from tests.harness.suite.waiting import until

__all__ = [
    "ProviderAttempt",
    "attempts_by_name",
    "budget_status",
    "nothing_held",
    "owner_of",
    "provider_attempts",
    "settlements",
    "spend",
]

_ASKED_S = 20.0


class ProviderAttempt(msgspec.Struct, frozen=True):
    """One attempt as the simulator counted it."""

    label: str
    """`<request id>.<attempt>`."""
    model: str
    outcome: str | int
    prompt_tokens: int
    completion_tokens: int


async def provider_attempts(system: System) -> list[ProviderAttempt]:
    """Every labelled attempt, once no call is in flight."""

    async def idle() -> bool:
        models = (await system.sim("GET", "counts"))["models"].values()
        return not any(model["in_flight"] for model in models)

    await until(idle, 30, every_s=0.1)
    return msgspec.convert(await system.sim("GET", "attempts"), list[ProviderAttempt])


async def owner_of(system: System, partition: str) -> Process:
    """The ledger process that owns a partition."""
    owners: list[Process] = []

    async def known() -> bool:
        nc = await nats.connect(servers_of(system.nats.url))
        try:
            owning = {each.instance for each in await read_presence(nc) if partition in each.partitions}
        finally:
            await nc.close()
        owners.extend(each for each in system.ledgers if each.alive and each.ready["instance"] in owning)
        return bool(owners)

    await until(known, 10, every_s=0.1)
    return owners[0]


async def settlements(system: System) -> list[Settled]:
    """The bookings in the journals of the accounts' partitions, in order; each attempt is in one of them."""
    nc = await nats.connect(servers_of(system.nats.url))
    try:
        found: list[Settled] = []
        async for msg in read_all(nc, JOURNAL.name, JOURNAL.subjects[0]):
            if (msg.headers or {})["Nats-Subject"] == subjects.journal(subjects.SYSTEM_PARTITION):
                continue
            entries = codec.JOURNAL.decode(msg.data).entries
            found.extend(entry for entry in entries if isinstance(entry, Settled))
        return found
    finally:
        await nc.close()


async def budget_status(system: System, scope: Scope, account: str = "", name: str = "") -> BudgetStatus:
    partition = subjects.SYSTEM_PARTITION if scope == "system" else subjects.partition_of(account)
    query = BudgetQuery(scope=scope, account=account, name=name)
    data = await _ask(system, subjects.ledger_budget(partition), codec.encode(query))
    return codec.BUDGET_REPORT.decode(data).status


async def nothing_held(system: System, account: str, within_s: float) -> None:
    """Wait until no hold of the account is open."""

    async def closed() -> bool:
        return (await budget_status(system, "account", account)).open_holds == 0

    await until(closed, within_s, every_s=0.2)


async def spend(system: System, query: SpendQuery) -> SpendReport:
    """The report, once every partition has an owner."""
    while True:
        report = codec.SPEND_REPORT.decode(await _ask(system, subjects.LEDGER_SPEND, codec.encode(query)))
        if not report.missing_partitions:
            return report
        await asyncio.sleep(0.2)


async def _ask(system: System, subject: str, data: bytes) -> bytes:
    """Ask until a ledger answers: a partition has no owner for some seconds after a crash."""
    nc = await nats.connect(servers_of(system.nats.url))
    try:
        return await _answered(nc, subject, data)
    finally:
        await nc.close()


async def _answered(nc: Nats, subject: str, data: bytes) -> bytes:
    answers: list[bytes] = []

    async def answered() -> bool:
        try:
            answers.append((await nc.request(subject, data, timeout=5)).data)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            return False
        return True

    await until(answered, _ASKED_S, every_s=0.1)
    return answers[-1]


def attempts_by_name(bookings: list[Settled]) -> Counter[str]:
    """How often each attempt, named `<request id>.<attempt>`, was booked."""
    return Counter(f"{each.id.rpartition('.')[2]}.{each.attempt}" for each in bookings)
