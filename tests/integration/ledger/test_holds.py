"""F1, F3: holds at a running ledger: granted within the limits, settled, released, expired, and waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats

from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from tests.harness.processes.ledgers import LedgerUser, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}


@pytest.fixture
async def user(nc: Nats, nats_server, unique: str) -> AsyncIterator[LedgerUser]:
    """An account with ten times the money of a usual hold."""
    async with running_ledger(nats_server.url, DAY):
        yield LedgerUser(nc, unique)


async def held(user: LedgerUser) -> tuple[int, int]:
    """Micro-dollars spent today, and held."""
    status = await user.status()
    return status.spent_today_microusd, status.held_microusd


async def test_f1_holds_are_granted_until_the_limit_and_refused_after_it(user: LedgerUser) -> None:
    answers = await asyncio.gather(*(user.hold() for _ in range(20)))
    refused = [each for each in answers if isinstance(each, HoldRefused)]
    assert len(answers) - len(refused) == 10
    assert {each.code for each in refused} == {"rate_limited"}
    assert refused[0].limit is not None
    assert refused[0].limit.limit == "microusd_per_day"
    assert await held(user) == (0, 10_000)


async def test_f1_the_true_cost_is_spent_and_the_rest_of_the_hold_is_free_again(user: LedgerUser) -> None:
    await user.hold("one")
    await user.use("one", 300)
    await until(lambda: is_held(user, 300, 0))


async def is_held(user: LedgerUser, spent: int, open_: int) -> bool:
    return await held(user) == (spent, open_)


async def test_f1_an_attempt_is_booked_once_whoever_reports_it(user: LedgerUser, nc: Nats) -> None:
    await user.hold("one")
    for copy in range(3):
        await user.use("one", 300, ends=False, worker=f"w{copy}", attempt=1)
    await user.use("one", 50, attempt=2)
    await until(lambda: is_held(user, 350, 0))


async def test_f1_a_repeated_question_changes_nothing_and_a_higher_one_raises_the_hold(
    user: LedgerUser,
) -> None:
    for picousd in (1_000, 1_000, 500, 3_000):
        assert isinstance(await user.hold("one", picousd=picousd * 1_000_000), HoldGranted)
    assert await held(user) == (0, 3_000)


async def test_f1_a_released_hold_is_free_again(user: LedgerUser) -> None:
    await user.hold("one")
    await user.release("one")
    await until(lambda: is_held(user, 0, 0))


async def test_f1_a_second_hold_with_the_same_id_is_released_too(user: LedgerUser) -> None:
    for _ in range(2):
        await user.hold("one")
        assert await held(user) == (0, 1_000)
        await user.release("one")
        await until(lambda: is_held(user, 0, 0))


async def test_f1_a_hold_that_nobody_ends_expires_at_its_deadline(user: LedgerUser) -> None:
    await user.hold("one", deadline_ms=int(time.time() * 1000) + 300)
    assert await held(user) == (0, 1_000)
    await until(lambda: is_held(user, 0, 0))


async def test_f1_a_hold_waits_for_the_release_of_another_and_is_granted_then(user: LedgerUser) -> None:
    await user.hold("large", picousd=10_000 * 1_000_000)
    waiting = asyncio.create_task(user.hold("second", wait_s=10))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await user.release("large")
    assert isinstance(await waiting, HoldGranted)


async def test_f1_a_wait_ends_in_a_refusal(user: LedgerUser) -> None:
    await user.hold("large", picousd=10_000 * 1_000_000)
    refused = await user.hold("second", wait_s=0.2)
    assert isinstance(refused, HoldRefused)
    assert (refused.code, refused.retry_after_s) == ("rate_limited", 1.0)


async def test_f1_a_hold_that_fits_is_granted_while_a_large_one_waits(user: LedgerUser) -> None:
    await user.hold("first", picousd=6_000 * 1_000_000)
    large = asyncio.create_task(user.hold("large", picousd=8_000 * 1_000_000, wait_s=10))
    await until(lambda: waits(user, large))
    assert isinstance(await user.hold("small", picousd=1_500 * 1_000_000), HoldGranted)
    await user.release("first")
    assert isinstance(await large, HoldGranted)


async def waits(user: LedgerUser, question: asyncio.Task[object]) -> bool:
    """The ledger has answered a later question, and not this one."""
    await user.status()
    return not question.done()


async def test_f1_a_request_that_makes_no_sense_is_refused(user: LedgerUser) -> None:
    for fields in (
        {"account": "other"},
        {"id": "no-token"},
        {"picousd": -1},
        {"picousd": 10**19},
        {"tokens": -5},
        {"wait_s": -1.0},
        {"deadline_ms": 10**15},
        {"key": "a b"},
    ):
        answer = await user.hold(**fields)
        assert isinstance(answer, HoldRefused), fields
        assert answer.code == "invalid_request"
    assert await held(user) == (0, 0)


async def test_f1_bytes_that_are_no_request_are_refused_and_stop_nothing(user: LedgerUser) -> None:
    for data in (b"", b"{", b'{"type":"hold_request"}', b"\xff", b"[" * 10_000):
        answer = await user.ask(data)
        assert isinstance(answer, HoldRefused)
        assert answer.code == "invalid_request"
    assert isinstance(await user.hold(), HoldGranted)


async def test_f1_forged_usage_is_skipped_and_what_follows_is_booked(user: LedgerUser, nc: Nats) -> None:
    js, subject = nc.jetstream(), subjects.usage(user.account)
    await user.hold("one")
    for data in (b"", b"nonsense", b'{"type":"usage_recorded"}'):
        await js.publish(subject, data)
    other = LedgerUser(nc, "other")
    forged = codec.encode(other.request())
    await js.publish(subject, forged)
    await user.use("one", 300)
    await until(lambda: is_held(user, 300, 0))
