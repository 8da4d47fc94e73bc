"""Forged events of a wrong shape, or for what their sender does not hold, change nothing.

Each is published over a connection without any privilege. Well-formed events that a service could have published are
not among them: only the permissions of NATS tell who sent them (SECURITY.md).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nats.errors
import pytest

from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.reply import Completed
from penstock.contract.streams import BUDGETS, EVENTS, GUARD_POLICIES, KEYS, PRESENCE, QUOTA
from penstock.runtime.budgets.records import price_key
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.records.ledger_books import budget_status, settlements
from tests.harness.requests.replies import RawPublisher, ReceivedReply, ask
from tests.harness.suite.waiting import until

ACCOUNT, OTHER, MODEL = "demo", "mallory", "m-chat"
ACCOUNTS = (ACCOUNT, OTHER)
EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
LIMITS = {"microusd_per_month": 10**9}
CONFIG = catalogue(
    models={
        MODEL: {"price": {"input": 1_000_000, "output": 1_000_000}, "limits": {"requests_per_minute": 10_000}}
    },
    budgets={"accounts": {ACCOUNT: LIMITS, OTHER: LIMITS}},
)
FUTURE_MS = 253_402_300_799_000
"""The end of the year 9999."""
JUNK = (b"", b"junk", b"\xff\xfe", b"[" * 3000, b"[]", b"null", b'{"type": "what"}')


class Scene(NamedTuple):
    """What happened before, and may be forged again."""

    ended: ReceivedReply
    """A request of the account that has its answer."""
    client: str
    usage: bytes
    """The event of its usage."""


class Forgery(NamedTuple):
    subject: str
    payload: bytes
    headers: dict[str, str] | None = None


def example(kind: str, **fields: Any) -> bytes:
    return json.dumps(json.loads((EXAMPLES / f"{kind}.json").read_text()) | fields).encode()


def usage(account: str = ACCOUNT, **fields: Any) -> Callable[[Scene], Forgery]:
    made = {
        "account": ACCOUNT,
        "model": MODEL,
        "id": "forged",
        "hold_id": None,
        "cost_picousd": 10**9,
    } | fields
    return lambda _: Forgery(subjects.usage(account), example("usage_recorded", **made))


def of_another(_: Scene) -> Forgery:
    return Forgery(
        subjects.usage(ACCOUNT), example("usage_recorded", account=OTHER, model=MODEL, hold_id=None)
    )


def used_again(scene: Scene) -> Forgery:
    return Forgery(subjects.usage(ACCOUNT), scene.usage, {headers.MESSAGE_ID: "forged"})


def released(hold_id: str, account: str = ACCOUNT) -> Callable[[Scene], Forgery]:
    return lambda _: Forgery(
        subjects.usage(ACCOUNT), example("hold_released", account=account, hold_id=hold_id)
    )


def presence(key: str = "worker.forged", **role: Any) -> Callable[[Scene], Forgery]:
    service, _, instance = key.partition(".")
    load = {"role": "chat", "slots": 1, "running": 0} | role
    payload = example("presence", service=service, instance=instance, roles=[load], limits=[])
    return lambda _: Forgery(f"$KV.{PRESENCE.name}.{key}", payload)


def reply(kind: str, **fields: Any) -> Callable[[Scene], Forgery]:
    """An event of the request that has ended."""

    def forged(scene: Scene) -> Forgery:
        return Forgery(
            subjects.reply(ACCOUNT, scene.client, scene.ended.id),
            example(kind, id=scene.ended.id, **fields),
        )

    return forged


def raw_reply(payload: bytes) -> Callable[[Scene], Forgery]:
    return lambda scene: Forgery(subjects.reply(ACCOUNT, scene.client, scene.ended.id), payload)


def at(subject: str, payload: bytes) -> Callable[[Scene], Forgery]:
    return lambda _: Forgery(subject, payload)


def quota(**fields: Any) -> Callable[[Scene], Forgery]:
    key = subjects.quota_key("simulator", MODEL)
    return at(f"$KV.{QUOTA.name}.{key}", example("quota_record", **fields))


FORGERIES: dict[str, Callable[[Scene], Forgery]] = {
    "usage: negative tokens": usage(input_tokens=-5),
    "usage: 2^63 tokens": usage(output_tokens=2**63),
    "usage: tokens as text": usage(input_tokens="12"),
    "usage: negative cost": usage(cost_picousd=-(10**12)),
    "usage: a cost of 2^63": usage(cost_picousd=2**63),
    "usage: no id": at(subjects.usage(ACCOUNT), b'{"type": "usage_recorded", "account": "demo"}'),
    "usage: on the subject of another account": usage(OTHER),
    "usage: of another account": of_another,
    "usage: the hold of another account": usage(hold_id=f"{OTHER}.c.r"),
    "usage: twice": used_again,
    "usage: negative attempt": usage(attempt=-1),
    "release: the hold of another account": released(f"{OTHER}.c.r"),
    "release: an unknown hold": released(f"{ACCOUNT}.c.unknown"),
    "heartbeat: unknown service": presence("robot.forged"),
    "heartbeat: another instance than its key": at(f"$KV.{PRESENCE.name}.worker.x", example("presence")),
    "heartbeat: giant capacity": presence(slots=2**62),
    "heartbeat: negative capacity": presence(slots=-(2**40), running=2**40),
    "heartbeat: slots as text": presence(slots="many"),
    "heartbeat: ready in the year 9999": presence(ready_at_ms=FUTURE_MS),
    "heartbeat: requests that take no time": presence(service_ms=-1, service_p95_ms=-1, ended=10**9),
    "heartbeat: a negative number of attempts": presence(attempts_per_request=-1e300),
    "quota: negative amounts": quota(minute=[[1, -(10**9), -(10**12)]], day=[[1, -(10**9), 0]]),
    "quota: times as text": quota(at_ms="soon"),
    "quota: leases of 2^63": quota(leases=[{"holder": "x", "number": 1, "until_ms": 2**63}]),
    "reply: another answer of an ended request": reply("completed", seq=9_000_001, attempt=9),
    "reply: its failure": reply("failed", seq=9_000_001),
    "reply: text of a later attempt": reply("delta", seq=9_000_001, attempt=9, text="forged"),
    "reply: unknown type": raw_reply(b'{"type": "finished", "seq": 1}'),
    "reply: 8 MB": raw_reply(b"x" * 8_000_000),
    "cancel: unknown request": at(subjects.cancel(ACCOUNT, "unknown"), example("cancel_request")),
    "job: another id than its subject": at(subjects.job(ACCOUNT, "c", "other"), example("job")),
    "job: state as a number": at(subjects.job(ACCOUNT, "c", "r"), example("job", id="r", state=7)),
    "budget: negative limit": at(
        f"$KV.{BUDGETS.name}.policy.account.{ACCOUNT}",
        example("budget_policy", account=ACCOUNT, limits={"microusd_per_day": -1}),
    ),
    "budget: of another account than its key": at(
        f"$KV.{BUDGETS.name}.policy.account.{ACCOUNT}", example("budget_policy", account=OTHER, disabled=True)
    ),
    "price: negative": at(
        f"$KV.{BUDGETS.name}.{price_key(MODEL)}", example("price_override", model=MODEL, prices={"input": -5})
    ),
    "guard: an unknown action": at(
        f"$KV.{GUARD_POLICIES.name}.account.{ACCOUNT}",
        example("guard_policy", account=ACCOUNT, input={"hate": 9}),
    ),
    "key: another prefix than its key": at(f"$KV.{KEYS.name}.aaaaaaaa", example("api_key")),
    "pause: until the year 9999, of another provider": at(
        subjects.event("quota", MODEL), example("quota_paused", model=MODEL, until_ms=FUTURE_MS)
    ),
    "pause: of a negative time": at(
        subjects.event("quota", MODEL), example("quota_paused", model=MODEL, until_ms=-(2**63))
    ),
    "dead letter: no headers": at(subjects.dead("chat"), b"junk"),
    "body: a part of no request": at("llm.body.demo.c.r.upload.notanumber", b"part"),
    "body: a negative offset": at("llm.body.demo.c.r.upload.-5", b"part"),
}
JUNK_ON = {
    "usage": subjects.usage(ACCOUNT),
    "presence": f"$KV.{PRESENCE.name}.worker.junk",
    "quota": f"$KV.{QUOTA.name}.{subjects.quota_key('simulator', MODEL)}",
    "job": subjects.job(ACCOUNT, "c", "junk"),
    "budget": f"$KV.{BUDGETS.name}.policy.account.{ACCOUNT}",
    "guard": f"$KV.{GUARD_POLICIES.name}.account.{ACCOUNT}",
    "key": f"$KV.{KEYS.name}.junkjunk",
    "event": subjects.event("quota", MODEL),
    "availability": subjects.event("model", MODEL),
    "cancel": subjects.cancel(ACCOUNT, "junk"),
    "result": subjects.result(ACCOUNT, "c", "junk", 1),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("forged"), "chat", config=CONFIG, ledgers=1) as running:
        processes = (running.router, *running.workers, *running.ledgers)
        pids = [process.pid for process in processes]
        yield running
        assert [process.pid for process in processes if process.alive] == pids
        for process in processes:
            assert "Traceback" not in process.log.read_text(), process.log.read_text()[-3000:]


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client(name="honest") as connected:
        yield connected


class Books(NamedTuple):
    """What each account has spent, in micro-dollars."""

    booked: dict[str, int]
    """All that the journals hold."""
    shown: dict[str, int]
    """What the ledgers answer for the current month."""
    month_ends_ms: int


async def books(system: System, attempts: int) -> Books:
    """Once every attempt is booked."""
    booked: dict[str, int] = {}

    async def all_are_booked() -> bool:
        found = await settlements(system)
        booked.update(
            {name: sum(each.picousd for each in found if each.account == name) for name in ACCOUNTS}
        )
        return len(found) >= attempts

    await until(all_are_booked)
    statuses = {name: await budget_status(system, "account", name, name) for name in ACCOUNTS}
    return Books(
        {name: picousd // 10**6 for name, picousd in booked.items()},
        {name: sum(limit.spent for limit in status.limits) for name, status in statuses.items()},
        max(limit.resets_at_ms for status in statuses.values() for limit in status.limits),
    )


async def answered(client: Client) -> ReceivedReply:
    received = await ask(client, "Still there?", role="chat", timeout_s=10)
    assert received.completed.model == MODEL
    assert received.took_s < 2
    return received


@pytest.fixture
async def scene(system: System, client: Client, publisher: RawPublisher) -> Scene:
    ended = await answered(client)
    stored: list[bytes] = []

    async def recorded() -> bool:
        msg = await publisher.js.get_last_msg(EVENTS.name, subjects.usage(ACCOUNT), direct=False)
        stored.append(msg.data or b"")
        return ended.id.encode() in stored[-1]

    await until(recorded)
    return Scene(ended, "honest", stored[-1])


async def publish(publisher: RawPublisher, forged: Forgery) -> None:
    try:
        await publisher.js.publish(forged.subject, forged.payload, headers=forged.headers)
    except nats.errors.Error:
        await publisher.nc.publish(forged.subject, forged.payload, headers=forged.headers)


async def check_booked(system: System, client: Client, forging: Awaitable[None]) -> None:
    """A request after the forgery is answered, and only its usage is booked."""
    attempts = await system.attempts()
    before = await books(system, attempts)
    await forging
    used = (await answered(client)).completed.usage
    after = await books(system, attempts + 1)
    expected = {ACCOUNT: used.input_tokens + used.output_tokens, OTHER: 0}
    assert {name: after.booked[name] - before.booked[name] for name in ACCOUNTS} == expected
    if after.month_ends_ms == before.month_ends_ms:
        assert {name: after.shown[name] - before.shown[name] for name in ACCOUNTS} == expected


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forgery_changes_nothing(
    system: System, client: Client, publisher: RawPublisher, scene: Scene, name: str
) -> None:
    await check_booked(system, client, publish(publisher, FORGERIES[name](scene)))
    again = [event async for event in client.resume(scene.ended.id)]
    assert again[-1] == scene.ended.end
    assert isinstance(again[-1], Completed)


@pytest.mark.parametrize("name", JUNK_ON)
async def test_junk_changes_nothing(
    system: System, client: Client, publisher: RawPublisher, scene: Scene, name: str
) -> None:
    async def publish_junk() -> None:
        for payload in JUNK:
            await publish(publisher, Forgery(JUNK_ON[name], payload))

    await check_booked(system, client, publish_junk())


@pytest.mark.parametrize("subject", [subjects.EXPLAIN, subjects.ledger_hold(subjects.partition_of(ACCOUNT))])
async def test_a_question_of_a_wrong_shape_is_answered_or_dropped(
    system: System, client: Client, publisher: RawPublisher, subject: str
) -> None:
    for payload in (*JUNK, example("hold_request", picousd=-5), example("hold_request", account=OTHER)):
        try:
            answer = await publisher.nc.request(subject, payload, timeout=0.3)
        except nats.errors.TimeoutError:
            continue
        assert b"granted" not in answer.data
    await answered(client)


async def test_a_cancel_of_another_account_does_not_end_a_request(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    await system.hold_answers(2)
    async with client.stream("Wait", role="chat", timeout_s=20) as stream:
        await publisher.js.publish(subjects.cancel(OTHER, stream.id), example("cancel_request"))
        await system.release_answers()
        events = [event async for event in stream]
    assert isinstance(events[-1], Completed)


async def test_junk_in_the_journal_stops_no_ledger(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The owner finds a message that is not its own, loads its journal again without that, and goes on."""
    partition = subjects.partition_of(ACCOUNT)
    for payload in JUNK:
        await publisher.js.publish(subjects.journal(partition), payload)

    async def works() -> bool:
        return (await ask(client, "Again", role="chat", timeout_s=10)).code is None

    await until(works)
