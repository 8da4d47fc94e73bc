"""D10: no command prints an escape sequence that a model or a publisher on the bus writes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from nats.aio.msg import Msg

from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.explain import RoutingExplained, WeightedModels
from penstock.contract.presence import (
    BreakerStatus,
    CredentialStatus,
    LimitStatus,
    PastUsage,
    Presence,
)
from penstock.contract.reply import Accepted, Delta, Failed, Failure, Restarted, Started, first_seq
from penstock.contract.streams import PRESENCE
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher

ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"
WRITTEN = r"\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"
TEXT = "Grüße 東京 👩\u200d🔬 می\u200cخواهم"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("terminal"), config=catalogue()) as running:
        yield running


@pytest.fixture
async def no_router(system: System) -> AsyncIterator[None]:
    system.router.kill()
    yield
    system.router = system.new_router()
    await system.router.start()


@pytest.mark.parametrize("streamed", [(), ("--no-stream",)])
async def test_d10_an_answer_is_terminal_safe_and_complete_as_json(
    system: System, streamed: tuple[str, ...]
) -> None:
    """The simulator repeats the prompt in its answer."""
    asked = ("ask", f"{TEXT}{ESCAPES}", "--role", "chat", *streamed)
    shown = await run_command(system, *asked)
    assert shown.code == 0
    assert TEXT + WRITTEN in shown.out

    ran = await run_command(system, *asked, "--json")
    assert (ran.out.isascii(), ran.unprintable) == (True, [])
    events = [json.loads(line) for line in ran.out.splitlines()]
    text = "".join(event["text"] for event in events if event["type"] == "delta")
    if streamed:
        text = events[-1]["response"]["choices"][0]["message"]["content"]
    assert TEXT + ESCAPES in text


async def test_d10_a_forged_reply_is_printed_terminal_safe(
    system: System, publisher: RawPublisher, no_router: None
) -> None:
    async def reply(msg: Msg) -> None:
        asked = msgspec.json.decode(msg.data)
        address = subjects.reply("demo", asked["client"], asked["id"])
        error = Failure(code="overloaded", message=ESCAPES, retry="later", retry_after_s=0.2)
        first, again = first_seq(1), first_seq(2)
        for event in (
            Accepted(
                id=asked["id"],
                seq=0,
                role="chat",
                complexity="simple",
                why=ESCAPES,
                lane="interactive",
                deadline_ms=2**50,
                at_ms=1,
            ),
            Started(id=asked["id"], seq=first, attempt=1, model=ESCAPES, provider="p", worker="w", at_ms=1),
            Delta(id=asked["id"], seq=first + 1, text=ESCAPES),
            Restarted(id=asked["id"], seq=again, attempt=2, code="internal", message=ESCAPES),
            Failed(id=asked["id"], seq=again + 1, error=error),
        ):
            await publisher.nc.publish(address, encode(event))

    await publisher.nc.subscribe(subjects.REQUEST_ALL, cb=reply)
    await publisher.nc.flush()

    ran = await run_command(system, "ask", "hi", "--timeout", "6")
    assert (ran.code, ran.unprintable) == (1, [])
    assert ran.out == "", "stdout contains complete answers only"
    assert f"[restarted: {WRITTEN}]" in ran.notes
    assert f"penstock: {WRITTEN} (overloaded)" in ran.notes
    assert "in 1 s at the earliest" in ran.notes
    ran = await run_command(system, "ask", "hi", "--timeout", "6", "--json")
    assert (ran.code, ran.out.isascii(), ran.unprintable) == (1, True, [])


async def test_d10_a_forged_presence_is_printed_terminal_safe(
    system: System, publisher: RawPublisher
) -> None:
    limit = LimitStatus(
        credential=ESCAPES,
        model=ESCAPES,
        limit=ESCAPES,
        used=9,
        allowed=10,
        warned=True,
        watched_s=4000,
        hour=PastUsage(full_s=900, throttled=50, peak=10, unmet=50),
        day=PastUsage(full_s=900, throttled=50, peak=10, unmet=50),
    )
    presence = Presence(
        service=ESCAPES,
        instance=f"{ESCAPES}\nforged",
        at_ms=time.time_ns() // 1_000_000,
        http=ESCAPES,
        limits=(limit, msgspec.structs.replace(limit, credential="another")),
        breakers=(BreakerStatus(model=ESCAPES, state=ESCAPES, retry_at_ms=0),),
        withdrawn_models=(ESCAPES,),
        credentials=(
            CredentialStatus(
                credential=ESCAPES, provider=ESCAPES, refused_for=(ESCAPES,), file_problem=ESCAPES
            ),
        ),
    )
    await publisher.nc.publish(f"$KV.{PRESENCE.name}.worker.hostile", encode(presence))
    await publisher.nc.flush()

    shown = await run_command(system, "status")
    assert (shown.code, shown.unprintable) == (0, [])
    assert f"{WRITTEN}\\x0aforged" in shown.out
    assert shown.out.count("owned") > 10
    ran = await run_command(system, "status", "--json")
    assert (ran.out.isascii(), ran.unprintable) == (True, [])
    assert f"{ESCAPES}\nforged" in [service["instance"] for service in ran.json["services"]]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (
            encode(
                RoutingExplained(
                    role="chat",
                    complexity="simple",
                    why=ESCAPES,
                    chain=(ESCAPES, "m"),
                    weighted=(WeightedModels(models=(ESCAPES, "m"), weights=(1, 2)),),
                )
            ),
            0,
        ),
        (
            encode(
                Failed(id="r", seq=1, error=Failure(code="invalid_request", message=ESCAPES, retry="never"))
            ),
            1,
        ),
        (ESCAPES.encode() + b"\xff", 1),
    ],
)
async def test_d10_a_forged_explanation_is_printed_terminal_safe(
    system: System, publisher: RawPublisher, no_router: None, payload: bytes, code: int
) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(payload)

    await publisher.nc.subscribe(subjects.EXPLAIN, cb=answer)
    await publisher.nc.flush()

    for more in ((), ("--json",)):
        ran = await run_command(system, "explain", "hi", *more)
        assert (ran.code, ran.unprintable) == (code, [])
        assert "Traceback" not in ran.notes
