"""E4: jobs over HTTP: submit, status, result, cancel and list, per account, at any edge process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.bus.ids import new_id
from tests.harness.processes.system import System
from tests.harness.requests.edge_client import Response, chat_body, request
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

BODY = chat_body("Summarise this.")


@pytest.fixture
def jobs(url: str) -> str:
    return f"{url}/v1/jobs"


@pytest.fixture
def other(other_url: str) -> str:
    return f"{other_url}/v1/jobs"


@pytest.fixture(autouse=True)
async def normal_answers(system: System) -> AsyncIterator[None]:
    yield
    await system.release_answers()


async def submitted(jobs: str, body: dict[str, Any] = BODY, **headers: str) -> str:
    answer = await request(
        "POST", jobs, body, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    assert answer.status == 202, answer.body
    job_id = str(answer.json["id"])
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    assert answer.json["state"] in {"queued", "running", "completed"}
    return job_id


async def reached(jobs: str, job_id: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def there() -> bool:
        answer = await request("GET", f"{jobs}/{job_id}")
        assert answer.status == 200, answer.body
        found.update(answer.json)
        return bool(found["state"] == state)

    await until(there)
    return found


async def listed(jobs: str, query: str) -> Response:
    answer = await request("GET", f"{jobs}?{query}")
    assert answer.status == 200, answer.body
    return answer


async def test_e4_a_job_is_submitted_followed_and_read_at_another_edge(jobs: str, other: str, system: System):
    job_id = await submitted(jobs, x_penstock_user="ada")
    job = await reached(other, job_id, "completed")
    assert (job["object"], job["role"], job["model"], job["user"]) == ("job", "coding", "coder", "ada")
    assert job["usage"]["total_tokens"] > 0
    assert job["submitted_at"] <= job["changed_at"] < job["deadline_at"]
    result = await request("GET", f"{other}/{job_id}/result")
    assert result.status == 200
    text = result.json["choices"][0]["message"]["content"]
    assert text == await simulator_answer(system, "coder", "Summarise this.")
    assert (result.json["object"], result.json["model"]) == ("chat.completion", "coder")
    again = await request("GET", f"{jobs.removesuffix('jobs')}chat/completions/{result.json['id']}")
    assert again.body == result.body


async def test_k2_a_job_can_name_a_model(jobs: str):
    job_id = await submitted(jobs, {**BODY, "model": "other"})
    job = await reached(jobs, job_id, "completed")
    assert (job["role"], job["model"]) == ("model-other", "other")
    result = await request("GET", f"{jobs}/{job_id}/result")
    assert result.json["model"] == "other"


async def test_e4_a_job_that_runs_has_no_result_and_can_be_cancelled(jobs: str, other: str, system: System):
    await system.hold_answers()
    job_id = await submitted(jobs)
    await reached(other, job_id, "running")
    early = await request("GET", f"{other}/{job_id}/result")
    assert (early.status, early.error["code"]) == (409, "job_not_ended")
    assert early.headers["retry-after"] == "2"
    assert (await request("POST", f"{other}/{job_id}/cancel")).status == 202
    job = await reached(jobs, job_id, "failed")
    assert job["error"]["code"] == "cancelled"
    late = await request("GET", f"{jobs}/{job_id}/result")
    assert (late.status, late.error["code"]) == (499, "cancelled")
    assert (await request("POST", f"{jobs}/{job_id}/cancel")).status == 200


async def test_e4_the_list_has_the_jobs_of_a_user_in_pages(jobs: str, other: str):
    user = f"user-{new_id()}"
    made = [await submitted(jobs, x_penstock_user=user) for _ in range(3)]
    for job_id in made:
        await reached(jobs, job_id, "completed")
    first = (await listed(other, f"user={user}&limit=2")).json
    assert [job["id"] for job in first["data"]] == made[:0:-1]
    assert first["has_more"] is True
    rest = (await listed(other, f"user={user}&limit=2&after={first['last_id']}")).json
    assert [job["id"] for job in rest["data"]] == made[:1]
    assert rest["has_more"] is False
    assert len((await listed(other, f"user={user}&state=completed")).json["data"]) == 3
    assert (await listed(other, f"user={user}&state=failed")).json["data"] == []


async def test_e4_a_rejected_job_has_the_status_of_its_error(jobs: str):
    answer = await request("POST", jobs, chat_body("Hello", "no-such-role"))
    assert (answer.status, answer.error["code"]) == (404, "unknown_role")


@pytest.mark.parametrize(
    ("body", "headers", "param"),
    [
        (chat_body("Hello", stream=True), {}, "stream"),
        (chat_body("Hello"), {"x-penstock-lane": "interactive"}, "x-penstock-lane"),
        (chat_body("Hello"), {"x-penstock-timeout-s": "86401"}, "x-penstock-timeout-s"),
        ({"model": "coding"}, {}, "messages"),
    ],
)
async def test_e4_a_job_that_is_not_valid_is_a_400(
    jobs: str, body: dict[str, Any], headers: dict[str, str], param: str
):
    answer = await request("POST", jobs, body, headers=headers)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("query", ["state=ended", "limit=0", "limit=101", "limit=x", "after=none"])
async def test_e4_a_list_with_a_wrong_query_is_a_400(jobs: str, query: str):
    answer = await request("GET", f"{jobs}?{query}")
    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize("job_id", ["none", "*", "%3E", "a.b", "01a22771-8153-71b6-a842-65a62ef69b53"])
async def test_e4_an_unknown_job_is_a_404(jobs: str, job_id: str):
    assert (await request("GET", f"{jobs}/{job_id}")).status == 404
    assert (await request("GET", f"{jobs}/{job_id}/result")).status == 404
    assert (await request("POST", f"{jobs}/{job_id}/cancel")).status == 404


async def test_e4_another_account_sees_no_job_of_this_one(jobs: str, system: System):
    job_id = await submitted(jobs)
    stranger = system.new_edge(PENSTOCK_ACCOUNT="stranger")
    await stranger.start()
    try:
        theirs = f"{stranger.ready['url']}/v1/jobs"
        assert (await request("GET", f"{theirs}/{job_id}")).status == 404
        assert (await request("POST", f"{theirs}/{job_id}/cancel")).status == 404
        assert (await listed(theirs, "")).json["data"] == []
    finally:
        stranger.kill()


async def test_d7_a_job_with_an_idempotency_key_is_submitted_once(jobs: str, other: str, system: System):
    before = await system.attempts()
    key = f"nightly {new_id()}"
    job_id = await submitted(jobs, idempotency_key=key)
    assert await submitted(other, idempotency_key=key) == job_id
    await reached(jobs, job_id, "completed")
    assert await submitted(other, idempotency_key=key) == job_id
    changed = await request("POST", other, chat_body("Changed"), headers={"idempotency-key": key})
    assert (changed.status, changed.error["code"]) == (422, "idempotency_key_reused")
    assert await system.attempts() == before + 1


async def test_e4_the_answer_of_a_job_that_streamed_is_a_410(jobs: str, url: str):
    headers = {"x-penstock-lane": "batch"}
    body = chat_body("Streamed job", stream=True)
    answer = await request("POST", f"{url}/v1/chat/completions", body, headers=headers)
    result = await request("GET", f"{jobs}/{answer.headers['x-penstock-request-id']}/result")
    assert (result.status, result.error["code"]) == (410, "result_gone")
