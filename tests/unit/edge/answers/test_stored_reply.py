"""E2, K5: following a request that may not be stored yet, and who may read a reply by its id."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.bus.clock import Clock
from penstock.bus.ids import new_id
from penstock.contract.jobs import Job
from penstock.contract.reply import ReplyEvent
from penstock.errors import UnknownJob, UnknownReply
from services.edge.answers.stored_reply import check_user, readable_reply_of, reply_of
from services.edge.auth.identity import Identity
from services.edge.requests.accounts import Account
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.lookup import AnswerLookup
from tests.harness.requests.reply_events import accepted, completed
from tests.harness.requests.running_job import running_job

FOUND = AnswerId(client="edge-1", request_id=new_id(), streamed=True)
ADA, BOB, ALL = [Identity(account="shop", user=user) for user in ("ada", "bob", "")]
EVENTS: list[ReplyEvent] = [accepted(), completed()]


class FakeAccount:
    """The request is stored after `lost` checks; each check takes five seconds."""

    def __init__(self, lost: int, job: Job | None = None) -> None:
        self.lost = lost
        self.checks = 0
        self._job = job
        clock = Clock(time.monotonic, lambda: FOUND.created_s + 5 * self.checks)
        self.answers = AnswerLookup(cast("Any", None), "shop", clock)
        self.client = SimpleNamespace(resume=self._resume)
        self.jobs = SimpleNamespace(get=self._get)

    async def _resume(self, request_id: str, *, client: str, **_: float) -> AsyncGenerator[ReplyEvent, None]:
        self.checks += 1
        if self.checks <= self.lost:
            raise UnknownReply(request_id, client)
        for event in EVENTS:
            yield event

    async def _get(self, request_id: str) -> Job:
        if self._job is None:
            raise UnknownJob(request_id)
        return self._job

    @property
    def account(self) -> Account:
        return cast("Account", self)


async def test_e2_a_request_is_followed_as_long_as_it_may_be_on_its_way():
    fake = FakeAccount(lost=10)
    async with reply_of(FOUND, fake.account) as reply:
        assert [event async for event in reply] == EVENTS


async def test_e2_a_request_that_was_never_stored_is_unknown_in_the_end():
    fake = FakeAccount(lost=1000)
    with pytest.raises(UnknownReply):
        async with reply_of(FOUND, fake.account) as reply:
            assert [event async for event in reply] == []
    assert 60 <= 5 * fake.checks <= 150


@pytest.mark.parametrize("identity", [ADA, ALL])
async def test_k5_a_reply_of_a_job_is_read_by_keys_of_its_user_and_keys_without_one(identity: Identity):
    account = FakeAccount(lost=0, job=running_job(FOUND, "ada")).account
    async with readable_reply_of(identity, FOUND, account) as reply:
        assert [event async for event in reply] == EVENTS


@pytest.mark.parametrize("job", [running_job(FOUND, "ada"), None])
async def test_k5_a_reply_of_a_job_of_another_user_or_without_a_record_is_unknown(
    job: Job | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(globals(), "EVENTS", [accepted(lane="batch"), completed()])
    reply = readable_reply_of(BOB, FOUND, FakeAccount(lost=0, job=job).account)
    async with reply as events:
        with pytest.raises(UnknownReply):
            await anext(aiter(events))


async def test_k5_an_interactive_reply_belongs_to_the_account():
    account = FakeAccount(lost=0).account
    await check_user(BOB, FOUND, account, accepted())
    async with readable_reply_of(BOB, FOUND, account) as reply:
        assert [event async for event in reply] == EVENTS
