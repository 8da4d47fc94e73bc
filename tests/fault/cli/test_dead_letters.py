"""D7: `penstock dead` lists, shows, redrives once and drops dead letters, with any bytes in them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.bus.direct_get import read_page
from penstock.cli.commands.redrive import redriven_request
from penstock.cli.dead_letters import parse_letter
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.reply import Completed, Started, first_seq
from penstock.contract.streams import DEAD, REQUESTS, WORK, mailbox
from penstock.runtime.consumer.dead_letters import store_dead_letter
from penstock.runtime.consumer.delivery import Delivery, Unprocessable
from tests.fault.malformed import request, work
from tests.harness.nats.raw_nats import RawMessage, RawNats
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command, start_command
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.jobs import fail_deliveries_then_restart_router
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

MAX_DELIVER = 5
WAITING = subjects.work("chat", "interactive", 1, "flow")
ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("dead"), config=catalogue()) as running:
        yield running


@pytest.fixture(autouse=True)
async def no_letters(system: System, publisher: RawPublisher) -> None:
    await system.sim("POST", "reset")
    await publisher.js.purge_stream(DEAD.name)


async def store_letter(
    publisher: RawPublisher, body: bytes, *, role: str = "chat", subject: str | None = None
) -> int:
    """Store a dead letter as a worker or router does; returns its sequence number."""
    delivery = Delivery(
        subject=subject or subjects.request("demo", "chat"),
        data=body,
        headers={},
        ack_subject="",
        sequence=int.from_bytes(os.urandom(6)),
        number=6,
        stored_ns=1_700_000_000_000_000_000,
    )
    await store_dead_letter(
        publisher.js, role, delivery, Unprocessable("undeliverable", "delivered 5 times without an end")
    )
    return (await publisher.js.stream_info(DEAD.name)).state.last_seq


def a_request(**more: Any) -> bytes:
    return json.dumps(request() | {"client": "publisher", "role": "chat"} | more).encode()


async def letters(publisher: RawPublisher) -> int:
    return (await publisher.js.stream_info(DEAD.name)).state.messages


async def completed(client: Client, job_id: str) -> None:
    async def is_so() -> bool:
        return (await client.job(job_id)).state == "completed"

    await until(is_so)


async def test_d7_a_dead_letter_of_a_worker_is_listed_shown_and_redriven(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The letter shows each attempt with its worker and model, and that it had no end."""
    system.workers[0].kill()
    order = work("chat") | {"client": "publisher", "account": "demo", "user": "u-9"}
    address = subjects.reply("demo", "publisher", order["id"])
    begun = Started(
        id=order["id"],
        seq=first_seq(1),
        attempt=1,
        model="m-chat",
        provider="simulator",
        worker="w-1",
        at_ms=7,
    )
    await publisher.js.publish(address, encode(begun))
    extra = {headers.REPLY_SUBJECT: address, headers.DEADLINE_MS: str(order["deadline_ms"])}
    await publisher.js.publish(WAITING, json.dumps(order).encode(), headers=extra)
    puller = await publisher.js.pull_subscribe_bind(mailbox("chat", "interactive")[1].durable, WORK.name)
    for _ in range(MAX_DELIVER):
        (msg,) = await puller.fetch(1, timeout=20)
        await msg.nak()
    await puller.unsubscribe()
    system.workers[0] = system.new_worker()
    await system.workers[0].start()
    old_end = await publisher.end(order["id"])

    (letter,) = (await run_command(system, "dead", "list", "--json", "--role", "chat")).json
    assert (letter["request"], letter["code"], letter["deliveries"]) == (order["id"], "undeliverable", "6")
    listed = await run_command(system, "dead", "list", "--since", "5m", "--code", "undeliverable")
    assert order["id"] in listed.out
    shown = await run_command(system, "dead", "show", str(letter["seq"]))
    for part in ("delivered 5 times", "m-chat", "w-1", "no end", "llm.work.chat", order["id"]):
        assert part in shown.out, part
    assert json.loads(letter["body"]) == order

    ran = await run_command(system, "dead", "redrive", str(letter["seq"]), "--json")

    assert ran.code == 0, ran.notes
    job_id = ran.json["request"]
    assert job_id != order["id"]
    await completed(client, job_id)
    job = await client.job(job_id)
    assert (job.user, job.client, job.redriven_from) == ("u-9", "publisher", letter["seq"])
    assert isinstance(await publisher.end(job_id), Completed)
    assert await publisher.end(order["id"]) == old_end, "the old request keeps its one end"
    assert await letters(publisher) == 0
    assert (await run_command(system, "jobs", job_id, "--result")).out.strip() == (
        await client.result(job_id)
    ).text


async def test_d7_a_dead_letter_of_a_router_is_redriven(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    system.router.kill()
    asked = json.loads(a_request())
    await publisher.js.publish(subjects.request("demo", "chat"), json.dumps(asked).encode())
    await fail_deliveries_then_restart_router(system, publisher, MAX_DELIVER)
    await publisher.end(asked["id"])

    ran = await run_command(system, "dead", "redrive", "--all", "--role", "router", "--json")

    assert ran.code == 0, ran.notes
    await completed(client, ran.json["request"])
    assert await letters(publisher) == 0


async def test_d7_a_letter_redriven_three_times_is_executed_once(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    seq = str(await store_letter(publisher, a_request()))
    both = await asyncio.gather(*(run_command(system, "dead", "redrive", seq, "--json") for _ in range(2)))
    job_ids = {ran.json["request"] for ran in both if ran.code == 0}
    assert len(job_ids) == 1
    await completed(client, job_ids.pop())
    later = await run_command(system, "dead", "redrive", seq)
    assert later.code == 1
    assert f"there is no dead letter {seq}" in later.notes
    assert await system.attempts() == 1


async def test_d7_a_killed_redrive_is_finished_by_the_next_and_done_once(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """The command is killed as soon as its job record is seen, then as soon as its request is seen."""
    for watched in (subjects.JOB_ALL, subjects.BATCH_REQUEST_ALL):
        before = await system.attempts()
        seen = asyncio.Event()

        async def notice(_, seen=seen) -> None:
            seen.set()

        subscription = await publisher.nc.subscribe(watched, cb=notice)
        await publisher.nc.flush()
        seq = str(await store_letter(publisher, a_request()))
        process = await start_command(system, "dead", "redrive", seq, "--json")
        await asyncio.wait_for(seen.wait(), 20)
        process.kill()
        await process.wait()
        await subscription.unsubscribe()

        ran = await run_command(system, "dead", "redrive", seq, "--json")
        if await letters(publisher) == 0 and ran.code == 1:
            (job,) = [job for job in await client.jobs() if job.redriven_from == int(seq)]
            job_id = job.id
        else:
            job_id = ran.json["request"]
        await completed(client, job_id)
        assert await letters(publisher) == 0
        assert await system.attempts() == before + 1


async def test_d7_a_letter_whose_request_has_completed_is_only_deleted(
    system: System, client: Client, publisher: RawPublisher
) -> None:
    """As after a kill between publishing and deleting, and after the end of the duplicate window."""
    body = a_request()
    seq = await store_letter(publisher, body)
    (page,) = [await read_page(publisher.nc, DEAD.name, subjects.DEAD_ALL, sequence=seq)]
    kept = page.messages[-1]
    ran = await run_command(system, "dead", "redrive", str(seq), "--json")
    await completed(client, ran.json["request"])
    assert kept.data == body

    made = redriven_request(parse_letter(seq, kept.headers or {}, kept.data), 1)
    assert made.request.id == ran.json["request"], "one letter, one id"
    await publisher.js.publish(subjects.request("demo", "chat"), encode(made.request))

    async def taken() -> bool:
        return (await publisher.js.stream_info(REQUESTS.name)).state.messages == 0

    await until(taken)
    assert (await client.job(made.request.id)).state == "completed"
    assert await system.attempts() == 1


@pytest.mark.parametrize(
    ("body", "subject", "why"),
    [
        (b"\xff\xfe rubbish", None, "neither a request nor work"),
        (b'{"type": "delta"}', None, "neither a request nor work"),
        (b'{"type": "chat_request", "x": ' + b"[" * 100_000, None, "nested too deeply"),
        (a_request(), WAITING, "not a request subject"),
        (a_request(), subjects.request("demo", "index"), "of another kind than 'index'"),
        (a_request(client="a.b.>"), None, "is not a valid subject token"),
    ],
)
async def test_d7_a_letter_without_a_valid_request_is_not_redriven(
    system: System, publisher: RawPublisher, body: bytes, subject: str | None, why: str
) -> None:
    seq = await store_letter(publisher, body, subject=subject)
    ran = await run_command(system, "dead", "redrive", str(seq))
    assert ran.code == 1
    assert f"{seq}: not redriven" in ran.out
    assert why in ran.out
    assert await letters(publisher) == 1, "the letter is still stored"


async def test_d7_a_truncated_letter_is_not_redriven(system: System, publisher: RawPublisher) -> None:
    await publisher.js.publish(
        subjects.dead("chat"), a_request(), headers={headers.DEAD_TRUNCATED: "8388000"}
    )
    seq = (await publisher.js.stream_info(DEAD.name)).state.last_seq
    ran = await run_command(system, "dead", "redrive", str(seq))
    assert ran.code == 1
    assert "of its 8388000 bytes were kept" in ran.out


async def test_d7_no_escape_sequence_of_a_letter_reaches_the_terminal(
    system: System, publisher: RawPublisher
) -> None:
    body = json.dumps(request() | {"user": ESCAPES, "client": ESCAPES}, ensure_ascii=False).encode()
    hostile = {
        headers.DEAD_REASON: ESCAPES,
        headers.DEAD_MESSAGE: ESCAPES,
        headers.DEAD_SUBJECT: ESCAPES,
        headers.DEAD_HISTORY: json.dumps({"attempts": [{"attempt": 1, "model": ESCAPES, "worker": ESCAPES}]}),
        f"X-{ESCAPES}": ESCAPES,
    }
    block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in hostile.items()) + "\r\n"
    raw_letters = [
        RawMessage(subjects.dead("chat"), body, block.encode()),
        RawMessage(subjects.dead("chat"), ESCAPES.encode() + b"\xff\x9b", b"NATS/1.0\r\n\r\n"),
    ]
    async with RawNats.opened(system.nats.url) as raw_nats:
        first, _ = (answer["seq"] for answer in await raw_nats.publish(raw_letters))
    for arguments in (
        ("list",),
        ("list", "--json"),
        ("show", str(first)),
        ("show", str(first), "--json"),
        ("show", str(first + 1)),
        ("show", str(first + 1), "--json"),
        ("redrive", str(first), str(first + 1)),
    ):
        ran = await run_command(system, "dead", *arguments)
        assert ran.unprintable == [], arguments
    assert await letters(publisher) == 2


async def test_d7_letters_are_deleted_after_confirmation_only(
    system: System, publisher: RawPublisher
) -> None:
    first = await store_letter(publisher, a_request())
    await store_letter(publisher, a_request(), role="logic")
    asked = await run_command(system, "dead", "drop", str(first))
    assert asked.code == 1
    assert "--yes" in asked.notes
    assert await letters(publisher) == 2
    assert (await run_command(system, "dead", "drop", str(first), "--yes")).out == "1 deleted.\n"
    assert (await run_command(system, "dead", "drop", "--all", "--role", "chat", "--yes")).code == 0
    assert (
        await run_command(system, "dead", "drop", "--all", "--role", "logic", "--yes")
    ).out == "1 deleted.\n"
    assert await letters(publisher) == 0


async def test_d7_ctrl_d_at_the_question_deletes_nothing(system: System, publisher: RawPublisher) -> None:
    seq = await store_letter(publisher, a_request())
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"\x04")
        ran = await run_command(system, "dead", "drop", str(seq), stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (ran.code, ran.notes) == (1, "")
    assert ran.out.endswith("[y/N] \nNothing was deleted.\n")
    assert await letters(publisher) == 1
