"""K5: which background responses a key with a user may use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.contract.jobs import Job
from penstock.errors import UnknownJob, UnknownReply
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import DialectRoute
from services.edge.dialects.responses import ResponsesDialect
from services.edge.http.errors import HttpError
from services.edge.jobs.background import BackgroundResponses
from services.edge.requests.accounts import Account
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.lookup import Existence
from tests.harness.requests.running_job import running_job

FOUND = AnswerId(
    client="edge-1", request_id="019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a", streamed=True, background=True
)
ADA, BOB, ALL = [Identity(account="shop", user=user) for user in ("ada", "bob", "")]


def account(existence: Existence, job: Job | None = None) -> Account:
    async def get(request_id: str) -> Job:
        if job is None:
            raise UnknownJob(request_id)
        return job

    async def find(_: AnswerId) -> Existence:
        return existence

    fake = SimpleNamespace(jobs=SimpleNamespace(get=get), answers=SimpleNamespace(find=find))
    return cast("Account", fake)


@pytest.fixture
def background() -> BackgroundResponses:
    dialect = ResponsesDialect()
    return BackgroundResponses(DialectRoute(dialect, "resp_", "/v1/responses"), dialect, cast("Any", None))


async def test_k5_a_key_with_a_user_finds_the_responses_of_that_user_only(background: BackgroundResponses):
    stored = account("known", running_job(FOUND, "ada"))
    for find in (background.find, background.find_recorded):
        assert await find(ADA, stored, FOUND) == await find(ALL, stored, FOUND) == running_job(FOUND, "ada")
        with pytest.raises(UnknownReply):
            await find(BOB, stored, FOUND)


async def test_k5_a_response_whose_record_was_deleted_is_unknown_to_keys_with_a_user(
    background: BackgroundResponses,
):
    for find in (background.find, background.find_recorded):
        assert await find(ALL, account("known"), FOUND) is None
        for identity in (ADA, BOB):
            with pytest.raises(UnknownReply):
                await find(identity, account("known"), FOUND)


async def test_k5_a_response_without_a_record_yet_is_queued_and_not_followed_or_cancelled(
    background: BackgroundResponses,
):
    for identity in (ADA, BOB):
        assert await background.find(identity, account("undecided"), FOUND) is None
        with pytest.raises(HttpError) as error:
            await background.find_recorded(identity, account("undecided"), FOUND)
        assert error.value.status == 409
        assert (b"x-should-retry", b"false") not in error.value.headers
    assert await background.find_recorded(ALL, account("undecided"), FOUND) is None
