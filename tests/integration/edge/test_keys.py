"""K5: API keys at two running edges, made and revoked by the command line, used by the OpenAI SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import openai
import pytest
from msgspec.structs import replace

from penstock.bus.connection import close, connect
from penstock.contract import codec
from penstock.contract.request import ChatRequest
from penstock.contract.streams import JOBS
from services.edge.requests.answer_id import parse_answer_id
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.edge_keys import (
    PROMISED_S,
    answers,
    new_key,
    revoke,
    status_of,
    until_all_answer,
    usable_key,
)
from tests.harness.processes.system import System, running_system, shared_system, started
from tests.harness.requests.edge_client import chat_body, open_stream, read_stream, request
from tests.harness.suite.waiting import until

ASKED: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("keys"), config=catalogue({"coding": ("coder",)})) as running:
        yield running


@pytest.fixture(scope="module")
def urls(system: System) -> tuple[str, str]:
    """Two edges, of which each key may have two requests in progress at each."""
    edges = [started(system.new_edge(PENSTOCK_EDGE_KEY_REQUESTS="2")) for _ in range(2)]
    return str(edges[0].ready["url"]), str(edges[1].ready["url"])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@asynccontextmanager
async def client(url: str, key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as made:
        yield made


@asynccontextmanager
async def requests_seen(system: System) -> AsyncIterator[list[tuple[str, ChatRequest]]]:
    """The requests on the bus, with their subjects."""
    nc = await nats.connect(system.nats.url)
    seen: list[tuple[str, ChatRequest]] = []

    async def on_request(msg: Any) -> None:
        seen.append((msg.subject, codec.REQUEST.decode(msg.data)))

    await nc.subscribe("llm.request.>", cb=on_request)
    await nc.flush()
    try:
        yield seen
    finally:
        await nc.close()


async def test_k5_a_key_works_and_ends_at_every_edge(system: System, urls: tuple[str, str]):
    key = await new_key(system)
    await until_all_answer(urls, key, 200)
    for url in urls:
        async with client(url, key) as ai:
            answer = await ai.chat.completions.create(model="coding", messages=ASKED)
            assert answer.choices[0].message.content
    await revoke(system, key)
    await until_all_answer(urls, key, 401)
    for url in urls:
        async with client(url, key) as ai:
            with pytest.raises(openai.AuthenticationError, match="revoked") as refused:
                await ai.chat.completions.create(model="coding", messages=ASKED, stream=True)
        assert isinstance(refused.value.body, dict)
        assert set(refused.value.body) == {"message", "type", "param", "code"}
        assert refused.value.body["code"] == "invalid_api_key"
        assert refused.value.response.headers["www-authenticate"] == "Bearer"


async def test_k5_anthropics_header_is_accepted(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls)
    answer = await request("GET", f"{urls[0]}/v1/models", headers={"x-api-key": key})
    assert answer.status == 200


async def test_k5_messages_need_a_key_and_refuse_in_anthropics_shape(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls, "--role", "coding")
    body = chat_body("Hello", max_tokens=100)
    for route, sent, status, kind in (
        ("messages", key, 200, None),
        ("messages", key[:-1], 401, "authentication_error"),
        ("messages/count_tokens", key[:-1], 401, "authentication_error"),
        ("responses", key[:-1], 401, "invalid_request_error"),
        ("embeddings", key[:-1], 401, "authentication_error"),
    ):
        answer = await request("POST", f"{urls[0]}/v1/{route}", body, headers={"x-api-key": sent})
        assert answer.status == status
        assert kind is None or answer.error["type"] == kind
    refused = await request(
        "POST", f"{urls[0]}/v1/messages", body | {"model": "fast"}, headers={"x-api-key": key}
    )
    assert (refused.status, refused.error["type"]) == (403, "permission_error")


@pytest.mark.parametrize("stream", [True, False])
async def test_k5_a_request_counts_for_the_account_and_user_of_its_key(
    system: System, urls: tuple[str, str], *, stream: bool
):
    of_ada = await usable_key(system, urls, "--account", "shop", "--user", "ada")
    of_shop = await usable_key(system, urls, "--account", "shop")
    asked: Any = {
        "model": "coding",
        "messages": ASKED,
        "user": "mallory",
        "stream": stream,
        "extra_body": {"account": "other", "safety_identifier": "mallory"},
    }
    async with requests_seen(system) as seen:
        async with client(urls[0], of_ada) as ai:
            await ai.chat.completions.create(**asked, extra_headers={"x-penstock-user": "mallory"})
        async with client(urls[1], of_shop) as ai:
            await ai.chat.completions.create(**asked)
        await until(lambda: len(seen) == 2)
    assert [subject for subject, _ in seen] == ["llm.request.shop.chat"] * 2
    assert [request.user for _, request in seen] == ["ada", "mallory"]
    assert [request.key for _, request in seen] == [of_ada[4:12], of_shop[4:12]]


async def test_k5_an_answer_belongs_to_its_account(system: System, urls: tuple[str, str]):
    mine = await usable_key(system, urls, "--account", "mine")
    theirs = await usable_key(system, urls, "--account", "theirs")
    async with client(urls[0], mine) as ai:
        answer = await ai.chat.completions.create(model="coding", messages=ASKED)
    path = f"{urls[1]}/v1/chat/completions/{answer.id}"
    assert (await request("GET", path, headers={"authorization": f"Bearer {mine}"})).status == 200
    assert (await request("GET", path, headers={"authorization": f"Bearer {theirs}"})).status == 404


async def test_k5_a_key_allows_only_its_roles(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls, "--role", "coding", "--role", "auto")
    async with client(urls[0], key) as ai:
        assert (await ai.chat.completions.create(model="coding:simple", messages=ASKED)).model == "coder"
        assert {model.id async for model in ai.models.list()} == {"auto", "coding"}
        for model in ("coder", "chat", "no-such-model"):
            with pytest.raises(openai.PermissionDeniedError, match="use one of coding, auto") as refused:
                await ai.chat.completions.create(model=model, messages=ASKED)
            assert isinstance(refused.value.body, dict)
            assert (refused.value.body["code"], refused.value.body["param"]) == ("not_allowed", "model")
        with pytest.raises(openai.PermissionDeniedError):
            await ai.models.retrieve("chat")


async def test_k5_a_key_allows_only_its_models(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls, "--role", "chat", "--model", "coder", "--model", "m-fast")
    async with client(urls[0], key) as ai:
        assert (await ai.chat.completions.create(model="coder", messages=ASKED)).model == "coder"
        assert {model.id async for model in ai.models.list()} == {"chat", "coder", "m-fast"}
        for model in ("m-chat", "coding", "auto", "model-m-chat"):
            with pytest.raises(openai.PermissionDeniedError, match="use one of chat, coder, m-fast"):
                await ai.chat.completions.create(model=model, messages=ASKED)
    listed = await run_command(system, "keys", "list")
    assert "chat, coder, m-fast" in listed.out


async def test_k5_an_expired_key_gets_a_401(system: System, urls: tuple[str, str]):
    key = await new_key(system, "--expires", "1s")
    for url in urls:

        async def is_known(url: str = url) -> bool:
            answer = await request("GET", f"{url}/v1/models", headers={"x-api-key": key})
            return answer.status == 401 and "expired" in answer.error["message"]

        await until(is_known, 1 + PROMISED_S)


async def test_k5_requests_in_progress_with_one_key_are_bounded(system: System, urls: tuple[str, str]):
    key, other = await usable_key(system, urls), await usable_key(system, urls)
    chat, headers = f"{urls[0]}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    body = chat_body("Tell me everything [[tokens=200]]", stream=True)
    await system.hold_answers()
    try:
        async with open_stream("POST", chat, body, headers=headers) as first:
            async with open_stream("POST", chat, body, headers=headers) as second:
                assert (first.status, second.status) == (200, 200)
                async with client(urls[0], key) as ai:
                    with pytest.raises(
                        openai.RateLimitError, match="2 requests with this API key"
                    ) as refused:
                        await ai.models.list()
                assert refused.value.response.headers["retry-after"] == "1"
                assert await status_of(urls[0], other) == 200
                assert await status_of(urls[1], key) == 200, "each edge counts for itself"
            await until(answers(urls[0], key, 200))  # the second one hung up
    finally:
        await system.release_answers()
    async with open_stream("POST", chat, body, headers=headers) as stream:
        events = [event async for event in stream.events()]
    assert events[-1].data == "[DONE]"


async def test_k5_the_command_line_lists_keys_without_their_secrets(system: System):
    made = await run_command(
        system, "keys", "create", "--json", "--account", "shop", "--user", "ada", "--role", "coding",
        *("--expires", "90d", "--note", "laptop \x1b[31m of Ada"),
    )  # fmt: skip
    key, prefix = made.json["key"], made.json["prefix"]
    assert key[4:12] == prefix
    listed = await run_command(system, "keys", "list")
    (row,) = [line for line in listed.out.splitlines() if line.startswith(prefix)]
    assert row.split()[1:5] == ["valid", "shop", "ada", "coding"]
    assert listed.unprintable == []
    await revoke(system, key)
    as_json = await run_command(system, "keys", "list", "--json")
    (record,) = [each for each in as_json.json if each["prefix"] == prefix]
    assert record["expires_ms"] - record["created_ms"] == 90 * 86_400_000
    assert record["revoked_ms"] >= record["created_ms"]
    assert (record["account"], record["user"], record["roles"]) == ("shop", "ada", ["coding"])
    for shown in (listed, as_json):
        assert key[13:] not in shown.out + shown.notes
        assert "sha256" not in shown.out


async def test_k5_a_whole_key_may_be_given_to_revoke_it(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls)
    first = await run_command(system, "keys", "revoke", key)
    assert (first.code, first.notes) == (0, "")
    assert "is revoked" in first.out
    await until_all_answer(urls, key, 401)
    again = await run_command(system, "keys", "revoke", key)
    assert again.code == 0
    assert "was revoked before" in again.out
    assert key[13:] not in first.out + again.out


async def test_k5_an_unknown_prefix_is_an_error(system: System):
    unknown = await run_command(system, "keys", "revoke", "aaaaaaaa")
    assert unknown.code == 1
    assert "there is no key with the prefix aaaaaaaa" in unknown.notes


async def test_k5_the_metrics_count_why_keys_were_rejected(system: System, urls: tuple[str, str]):
    await usable_key(system, urls)
    assert await status_of(urls[0], None) == 401
    assert await status_of(urls[0], "sk-1234") == 401
    metrics = (await request("GET", f"{urls[0]}/metrics")).body.decode()
    for reason in ("missing", "malformed"):
        assert f'penstock_edge_rejected_keys_total{{reason="{reason}"}}' in metrics


async def test_k5_a_key_with_a_user_sees_the_jobs_of_that_user_only(system: System, urls: tuple[str, str]):
    ada, bob, all_users = [
        bearer(await usable_key(system, urls, "--account", "jobs", *user))
        for user in (("--user", "ada"), ("--user", "bob"), ())
    ]
    jobs = f"{urls[0]}/v1/jobs"
    submitted = await request("POST", jobs, chat_body("Hello"), headers=ada)
    path = f"{urls[1]}/v1/jobs/{submitted.json['id']}"
    assert (await request("GET", path, headers=ada)).json["user"] == "ada"
    assert (await request("GET", path, headers=all_users)).status == 200
    for method, route in (("GET", path), ("GET", f"{path}/result"), ("POST", f"{path}/cancel")):
        assert (await request(method, route, headers=bob)).status == 404
    assert (await request("GET", f"{jobs}?user=ada", headers=bob)).json["data"] == []
    assert len((await request("GET", f"{jobs}?user=bob", headers=ada)).json["data"]) == 1
    assert (await request("GET", jobs)).status == 401


async def test_k5_a_background_response_whose_record_was_deleted_is_hidden_from_other_users(
    system: System, urls: tuple[str, str]
):
    ada, bob, all_users = [
        bearer(await usable_key(system, urls, "--account", "responses", *user))
        for user in (("--user", "ada"), ("--user", "bob"), ())
    ]
    body = {"model": "coding", "input": "Hello", "background": True, "stream": True}
    events = await read_stream("POST", f"{urls[0]}/v1/responses", body, headers=ada)
    path = f"{urls[1]}/v1/responses/{events[0].json['response']['id']}"
    connection = await connect(system.nats.url, name="test")
    await connection.jetstream().purge_stream(JOBS.name)
    await close(connection)
    assert (await request("GET", path, headers=all_users)).json["status"] == "completed"
    for method, route in (("GET", path), ("GET", f"{path}?stream=true"), ("POST", f"{path}/cancel")):
        assert (await request(method, route, headers=bob)).status == 404


async def test_k5_an_idempotency_key_counts_for_one_api_key(system: System, urls: tuple[str, str]):
    ids = set()
    for _ in range(2):
        headers = bearer(await usable_key(system, urls)) | {"idempotency-key": "mine"}
        for url in urls:
            answer = await request("POST", f"{url}/v1/chat/completions", chat_body("Hello"), headers=headers)
            ids.add(answer.json["id"])
    assert len(ids) == 2


@pytest.fixture
async def own_system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path, config=catalogue({"coding": ("coder",)})) as running:
        yield running


async def test_k5_without_keys_the_edge_serves_this_machine_and_says_so(own_system: System):
    edge = own_system.new_edge()
    await edge.start()
    url = str(edge.ready["url"])
    assert url.startswith("http://127.0.0.1:")
    log = edge.log.read_text()
    assert "no API key exists" in log
    assert "127.0.0.1 only" in log
    async with requests_seen(own_system) as seen, client(url, "any") as ai:
        await ai.chat.completions.create(model="coding", messages=ASKED)
        await until(lambda: [subject for subject, _ in seen] == ["llm.request.demo.chat"])

    made = await run_command(own_system, "keys", "create")
    assert "from now on every client of the HTTP edge needs a key" in made.notes
    assert "delete the bucket (`nats kv del llm_keys`)" in made.notes
    key = made.out.strip()
    await until(answers(url, None, 401), PROMISED_S)
    later = await run_command(own_system, "keys", "create", "--role", "codng", "--role", "auto")
    assert "from now on" not in later.notes
    assert "has no role codng (write coding, if that is what you meant)" in later.notes
    assert "auto" not in later.notes
    assert await status_of(url, "any") == 401
    assert await status_of(url, key) == 200
    await revoke(own_system, key)
    await until_all_answer((url,), key, 401)
    assert await status_of(url, None) == 401, "revoked keys leave the edge closed"


async def test_k5_without_keys_the_edge_refuses_an_address_beyond_loopback(own_system: System):
    edge = own_system.new_edge(PENSTOCK_EDGE_HOST="0.0.0.0")  # noqa: S104 - it ends before it accepts a connection
    with pytest.raises(AssertionError, match="did not become ready"):
        await edge.start()
    assert await edge.ended() == 2
    log = edge.log.read_text()
    assert "PENSTOCK_EDGE_HOST" in log
    assert "`penstock keys create`" in log
    assert "Traceback" not in log


async def test_k5_keys_go_on_while_nats_is_away_and_changes_count_after_it(own_system: System):
    edges = [own_system.new_edge() for _ in range(2)]
    for edge in edges:
        await edge.start()
    urls = tuple(str(edge.ready["url"]) for edge in edges)
    revoked, kept = await usable_key(own_system, urls), await usable_key(own_system, urls)
    own_system.nats.kill()
    for url in urls:
        assert await status_of(url, kept) == 200
        assert await status_of(url, None) == 401
    await own_system.nats.restart()
    await revoke(own_system, revoked)
    await until_all_answer(urls, revoked, 401)
    await until_all_answer(urls, kept, 200)
    await until_all_answer(urls, await new_key(own_system), 200)


async def test_k5_an_edge_that_cannot_read_the_keys_answers_503(own_system: System):
    running = own_system.new_edge()
    await running.start()
    old_url = str(running.ready["url"])
    key = await usable_key(own_system, (old_url,))
    own_system.router.kill()  # it would provision the bucket again
    nc = await nats.connect(own_system.nats.url)
    try:
        await nc.jetstream().delete_stream("KV_llm_keys")
        fresh = own_system.new_edge()
        await fresh.start()
        url = str(fresh.ready["url"])
        async with client(url, key) as ai:
            with pytest.raises(openai.InternalServerError) as refused:
                await ai.models.list()
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after"] == "1"
        ready = await request("GET", f"{url}/readyz")
        assert ready.status == 503
        assert "the API keys cannot be read yet" in ready.json["missing"]
        assert (await request("GET", f"{url}/healthz")).status == 200
        assert await status_of(old_url, key) == 200, "known keys go on"
    finally:
        await nc.close()


async def test_d6_a_key_has_a_rescue_that_a_request_may_change(system: System, urls: tuple[str, str]):
    key = await usable_key(system, urls, "--rescue", "hold:500")
    chat, body = f"{urls[0]}/v1/chat/completions", chat_body("Hello rescue", stream=True)
    rescues = []
    for chosen in ({}, {"x-penstock-rescue": "restart"}):
        events = await read_stream("POST", chat, body, headers={**bearer(key), **chosen})
        found = parse_answer_id(events[0].json["id"], "chatcmpl-")
        assert found is not None
        rescues.append(found.rescue)
    assert rescues == ["hold_briefly", "restart"]
    listed = await run_command(system, "keys", "list")
    (line,) = [line for line in listed.out.splitlines() if line.startswith(key[4:12])]
    assert "hold:500" in line


async def test_k5_a_key_with_a_user_reads_the_background_responses_of_that_user_only(
    system: System, urls: tuple[str, str]
):
    ada = await usable_key(system, urls, "--user", "ada")
    eve = await usable_key(system, urls, "--user", "eve")
    whole = await usable_key(system, urls)
    async with client(urls[0], ada) as ai:
        created = await ai.responses.create(model="coding", input="Hello", background=True)
    path = f"{urls[1]}/v1/responses/{created.id}"
    statuses = [(await request("GET", path, headers=bearer(key))).status for key in (ada, eve, whole)]
    assert statuses == [200, 404, 200]
    assert (await request("POST", f"{path}/cancel", headers=bearer(eve))).status == 404


async def test_k5_another_form_of_its_id_opens_no_background_response_of_another_user(
    system: System, urls: tuple[str, str]
):
    """The form and the check digit are no secret."""
    ada, bob = [
        bearer(await usable_key(system, urls, "--account", "forms", "--user", user))
        for user in ("ada", "bob")
    ]
    responses, chat = f"{urls[1]}/v1/responses", f"{urls[1]}/v1/chat/completions"
    await system.hold_answers()
    try:
        body = {"model": "coding", "input": "Hello", "background": True, "stream": True}
        async with open_stream("POST", responses, body, headers=ada) as stream:
            events = stream.events()
            own_id = (await anext(events)).json["response"]["id"]
            found = parse_answer_id(own_id, "resp_")
            assert found is not None
            forms = [replace(found, background=False, streamed=streamed) for streamed in (True, False)]
            for form in forms:
                paths = [f"{responses}/{form.text('resp_')}", f"{chat}/{form.text('chatcmpl-')}"]
                routes = [("GET", path) for path in paths] + [("POST", f"{paths[0]}/cancel")]
                if form.streamed:
                    routes.append(("GET", f"{paths[0]}?stream=true"))
                for method, route in routes:
                    answer = await request(method, route, headers=bob)
                    assert (answer.status, answer.error["code"]) == (404, "not_found")
            await system.release_answers()
            assert [event async for event in events][-1].event == "response.completed"
        own = await request("GET", f"{responses}/{forms[0].text('resp_')}", headers=ada)
        assert own.status == 200
    finally:
        await system.release_answers()


async def test_k5_a_key_with_a_user_reads_the_plain_responses_of_its_account(
    system: System, urls: tuple[str, str]
):
    ada, bob = [
        bearer(await usable_key(system, urls, "--account", "plain", "--user", user))
        for user in ("ada", "bob")
    ]
    responses = f"{urls[1]}/v1/responses"
    made = await request("POST", responses, {"model": "coding", "input": "Hello"}, headers=ada)
    for method, path in (("GET", made.json["id"]), ("POST", f"{made.json['id']}/cancel")):
        again = await request(method, f"{responses}/{path}", headers=bob)
        assert (again.status, again.json["output"]) == (200, made.json["output"])
