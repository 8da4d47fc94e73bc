"""G4: asking a guard over NATS, while guards are absent, frozen, slow or broken."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.connection import connect
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import CheckedText, GuardCheck, GuardVerdict
from penstock.runtime.guard.client import GuardClient, GuardUnreachable

CHECK = GuardCheck(id="r1", account="shop", texts=(CheckedText(text="hello"),))
VERDICT = codec.encode(GuardVerdict(id="r1", action="allow"))


@pytest.fixture
async def client(own_nc: Nats) -> GuardClient:
    client = GuardClient(own_nc)
    await client.start()
    return client


async def answer(nc: Nats, *payloads: bytes, after_s: float = 0.0) -> list[Msg]:
    """Subscribe a guard that sends these payloads to each check; returns the checks that it received."""
    received: list[Msg] = []

    async def on_check(msg: Msg) -> None:
        received.append(msg)
        for payload in payloads:
            await msg.respond(payload)
            await asyncio.sleep(after_s)

    await nc.subscribe(subjects.GUARD_CHECK, "guard", cb=on_check)
    return received


async def test_g4_checks_at_the_same_time_get_their_own_verdicts(client: GuardClient, own_nc: Nats) -> None:
    async def on_check(msg: Msg) -> None:
        check = codec.GUARD_CHECK.decode(msg.data)
        await msg.respond(codec.encode(GuardVerdict(id=check.id, action="allow", guard=check.texts[0].text)))

    await own_nc.subscribe(subjects.GUARD_CHECK, "guard", cb=on_check)
    checks = [GuardCheck(id=str(n), account="a", texts=(CheckedText(text=str(n)),)) for n in range(50)]
    verdicts = await asyncio.gather(*(client.check(check, 5) for check in checks))
    assert [verdict.guard for verdict in verdicts] == [str(n) for n in range(50)]


async def test_g4_without_a_guard_the_client_gives_up_in_time(client: GuardClient) -> None:
    began_s = loop_now_s()
    with pytest.raises(GuardUnreachable, match="no guard is running"):
        await client.check(CHECK, 0.5)
    assert 0.4 <= loop_now_s() - began_s < 2


async def test_g4_checks_do_not_wait_for_a_guard_that_has_been_absent_for_as_long(
    client: GuardClient, own_nc: Nats
) -> None:
    with pytest.raises(GuardUnreachable):
        await client.check(CHECK, 0.5)
    began_s = loop_now_s()
    for _ in range(20):
        with pytest.raises(GuardUnreachable):
            await client.check(CHECK, 0.5)
    assert loop_now_s() - began_s < 0.5
    await answer(own_nc, VERDICT)
    assert (await client.check(CHECK, 0.5)).action == "allow"


async def test_g4_a_guard_that_starts_meanwhile_is_found(client: GuardClient, own_nc: Nats) -> None:
    asked = asyncio.create_task(client.check(CHECK, 10))
    await asyncio.sleep(0.3)
    await answer(own_nc, VERDICT)
    assert (await asked).action == "allow"


async def test_g4_a_check_at_a_frozen_guard_is_sent_again(client: GuardClient, own_nc: Nats) -> None:
    frozen = await answer(own_nc)
    asked = asyncio.create_task(client.check(CHECK, 20))
    while len(frozen) < 2:
        await asyncio.sleep(0.01)
    await answer(own_nc, VERDICT)
    assert (await asked).action == "allow"


async def test_g4_only_the_first_check_waits_its_whole_time_for_frozen_guards(
    client: GuardClient, own_nc: Nats
) -> None:
    frozen = await own_nc.subscribe(subjects.GUARD_CHECK, "guard")
    began_s = loop_now_s()
    with pytest.raises(GuardUnreachable, match="no verdict of a guard within"):
        await client.check(CHECK, 2.5)
    assert loop_now_s() - began_s >= 2.5
    began_s = loop_now_s()
    with pytest.raises(GuardUnreachable, match="no verdict of a guard within"):
        await client.check(CHECK, 20)
    assert 1.5 <= loop_now_s() - began_s < 15, "the short time, on a machine of any speed"
    await frozen.unsubscribe()
    await answer(own_nc, b"", b"", b"", b"", b"", b"", VERDICT, after_s=0.3)
    assert (await client.check(CHECK, 10)).action == "allow", "a guard that reports work is waited for"
    assert not client._silent


async def guard(nc: Nats, name: str, *, frozen: bool = False) -> list[Msg]:
    """Subscribe a guard as a process does, to the checks of all and to its own; returns what it received."""
    received: list[Msg] = []

    async def on_check(msg: Msg) -> None:
        received.append(msg)
        if not frozen:
            await msg.respond(codec.encode(GuardVerdict(id="r1", action="allow", guard=name)))

    await nc.subscribe(subjects.GUARD_CHECK, "guard", cb=on_check)
    await nc.subscribe(subjects.GUARD_CHECK_OF.format(instance=name), cb=on_check)
    await nc.flush()
    return received


async def test_g4_checks_go_round_a_frozen_guard_once_it_was_silent(
    client: GuardClient, own_nc: Nats
) -> None:
    await guard(own_nc, "b")
    await client.check(CHECK, 5)
    frozen = await guard(own_nc, "a", frozen=True)
    while not frozen:
        assert (await client.check(CHECK, 5)).guard == "b"
    began_s = loop_now_s()
    for _ in range(100):
        await client.check(CHECK, 5)
    assert loop_now_s() - began_s < 0.7
    assert len(frozen) == 1


async def test_g4_when_the_guard_that_answered_last_freezes_too_any_other_is_asked(
    client: GuardClient, own_nc: Nats, own_nats_server: NatsServer
) -> None:
    other_nc = await connect(own_nats_server.url, name="the guard that dies")
    await guard(other_nc, "b")
    await client.check(CHECK, 5)
    frozen = await guard(own_nc, "a", frozen=True)
    while not frozen:
        await client.check(CHECK, 5)
    await other_nc.close()
    await guard(own_nc, "c")
    assert (await client.check(CHECK, 30)).guard == "c"
    began_s = loop_now_s()
    assert (await client.check(CHECK, 5)).guard == "c"
    assert loop_now_s() - began_s < 0.5


async def test_g4_a_check_that_nats_refuses_is_given_up_at_once(client: GuardClient, own_nc: Nats) -> None:
    received = await answer(own_nc, VERDICT)
    huge = GuardCheck(id="r1", account="shop", texts=(CheckedText(text="x" * own_nc.max_payload),))
    began_s = loop_now_s()
    with pytest.raises(GuardUnreachable, match="larger than NATS accepts"):
        await client.check(huge, 30)
    assert loop_now_s() - began_s < 2
    assert received == []


async def test_g4_a_guard_that_reports_work_is_asked_once(client: GuardClient, own_nc: Nats) -> None:
    received = await answer(own_nc, b"", b"", b"", b"", VERDICT, after_s=0.3)
    assert (await client.check(CHECK, 5)).action == "allow"
    assert len(received) == 1


async def test_g4_a_guard_that_reports_work_is_waited_for_beyond_the_time_for_a_silent_one(
    client: GuardClient, own_nc: Nats
) -> None:
    received = await answer(own_nc, *[b""] * 6, VERDICT, after_s=0.3)
    assert (await client.check(CHECK, 0.7)).action == "allow"
    assert len(received) == 1


async def test_g4_a_check_is_sent_again_when_a_guard_stops_reporting_work(
    client: GuardClient, own_nc: Nats
) -> None:
    taken: list[Msg] = []

    async def on_check(msg: Msg) -> None:
        taken.append(msg)
        await msg.respond(b"" if len(taken) == 1 else VERDICT)

    await own_nc.subscribe(subjects.GUARD_CHECK, "guard", cb=on_check)
    assert (await client.check(CHECK, 20)).action == "allow"
    assert len(taken) == 2


@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"type":"guard_verdict"}', b"\xff\xfe", b"[" * 100_000])
async def test_g4_an_unreadable_verdict_is_no_verdict(
    client: GuardClient, own_nc: Nats, broken: bytes
) -> None:
    await answer(own_nc, broken)
    with pytest.raises(GuardUnreachable):
        await client.check(CHECK, 0.4)


async def test_g4_the_verdict_of_another_check_is_no_verdict(client: GuardClient, own_nc: Nats) -> None:
    await answer(own_nc, codec.encode(GuardVerdict(id="other", action="allow")))
    with pytest.raises(GuardUnreachable):
        await client.check(CHECK, 1.0)
