"""K2, E1: requests and replies of the client, against a gateway that the test scripts."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import msgspec
import pytest

from penstock import Client, RequestFailed
from penstock.bus.tracing import NO_TRACER, NoTracer
from penstock.contract import headers
from penstock.contract.names import COMPLEXITIES, RESCUES
from penstock.contract.reply import Completed, Delta, Restarted
from penstock.errors import BrokerUnreachable, ClientClosed, NoReply, NotAccepted, RequestTooLarge, UnknownJob
from tests.harness.suite.waiting import until
from tests.integration.client.events import Events
from tests.integration.client.timings import with_timings


async def answer_whole(gateway, request):
    events = Events(request.id)
    body = b'{"choices":[{"message":{"content":"forty-two","tool_calls":[]}}],"x":1}'
    await gateway.send(request, events.accepted(), *events.begin(), events.completed(body))


@pytest.mark.parametrize("rescue", RESCUES)
async def test_d6_rescue_is_sent_in_the_envelope(gateway, client, rescue):
    gateway.script = lambda request: answer_whole(gateway, request)
    await client.chat("hello", rescue=rescue, timeout_s=10)
    await client.submit("hello", rescue=rescue)
    await until(lambda: len(gateway.requests) == 2)
    assert [request.rescue for request in gateway.requests] == [rescue, rescue]
    assert all("rescue" not in msgspec.json.decode(request.body) for request in gateway.requests)


@pytest.mark.parametrize("rescue", ["", "always", None, True, ["none"]])
async def test_k2_an_unknown_rescue_is_a_value_error(gateway, client, rescue):
    message = "use one of none, before_output, restart"
    with pytest.raises(ValueError, match=message):
        client.stream("hello", rescue=rescue)
    with pytest.raises(ValueError, match=message):
        await client.chat("hello", rescue=rescue)
    with pytest.raises(ValueError, match=message):
        await client.submit("hello", rescue=rescue)
    assert not gateway.requests


@pytest.mark.parametrize("complexity", [None, *COMPLEXITIES])
async def test_b2_complexity_is_sent_in_the_envelope(gateway, client, complexity):
    gateway.script = lambda request: answer_whole(gateway, request)
    await client.chat("hello", complexity=complexity, timeout_s=10)
    await client.submit("hello", complexity=complexity)
    await until(lambda: len(gateway.requests) == 2)
    assert [request.complexity for request in gateway.requests] == [complexity, complexity]
    assert all("complexity" not in msgspec.json.decode(request.body) for request in gateway.requests)


async def test_k2_an_unknown_complexity_is_a_value_error(gateway, client):
    with pytest.raises(ValueError, match="use one of simple, medium, complex"):
        await client.chat("hello", complexity="hard")
    assert not gateway.requests


async def test_e1_chat_returns_the_whole_reply(gateway, client):
    gateway.script = lambda request: answer_whole(gateway, request)
    reply = await client.chat("What is six times seven?", role="logic", user="ada", timeout_s=10, top_p=0.5)
    assert (reply.text, reply.model, reply.attempts, reply.finish_reason) == ("forty-two", "m", 1, "stop")
    assert reply.response == {
        "choices": [{"message": {"content": "forty-two", "tool_calls": []}}],
        "x": 1,
    }
    assert (reply.why, reply.complexity) == ("nothing else fits", "simple")
    (request,) = gateway.requests
    assert (request.role, request.user, request.lane, request.id) == ("logic", "ada", "interactive", reply.id)
    assert msgspec.json.decode(request.body) == {
        "messages": [{"role": "user", "content": "What is six times seven?"}],
        "stream": False,
        "top_p": 0.5,
    }
    assert (request.timeout_s, request.deadline_ms) == (10, None)
    assert gateway.request_headers[0][headers.MESSAGE_ID].endswith(f".{client.name}.{request.id}")
    assert gateway.request_headers[0][headers.CLIENT] == client.name
    assert gateway.cancelled == []


async def test_e1_a_streamed_reply_arrives_event_by_event(gateway, client):
    resume = asyncio.Event()

    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("one "))
        await resume.wait()
        await gateway.send(request, *events.deltas("two"), events.completed())

    gateway.script = script
    texts = []
    async for event in client.stream("count"):
        if isinstance(event, Delta):
            texts.append(event.text)
            resume.set()
    assert texts == ["one ", "two"]
    assert isinstance(event, Completed)


async def test_e4_a_job_that_no_router_has_read_may_be_asked_for_later(gateway, client):
    job_id = await client.submit("hello")
    for read in (client.job, client.result):
        with pytest.raises(
            UnknownJob, match=f"no status of job {job_id}: check the id, or ask again in a second"
        ) as caught:
            await read(job_id)
        assert (caught.value.code, caught.value.retry) == ("invalid_request", "later")


async def test_d6_restarted_discards_the_text_so_far(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("wro", "ng"))
        await gateway.send(
            request, *events.begin(restarted=True), *events.deltas("right"), events.completed()
        )

    gateway.script = script
    reply = await client.chat("x", stream=True)
    assert (reply.text, reply.attempts) == ("right", 2)


async def test_d6_late_events_of_a_replaced_attempt_are_dropped(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas("old "))
        late = events.deltas("late ", "later ")
        await gateway.send(request, *events.begin(restarted=True), late[0], *events.deltas("new "), late[1])
        await gateway.send(request, *events.deltas("words"), events.completed())

    gateway.script = script
    seen = [event async for event in client.stream("x")]
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})
    after = seen[next(n for n, event in enumerate(seen) if isinstance(event, Restarted)) :]
    assert "".join(event.text for event in after if isinstance(event, Delta)) == "new words"


async def test_d10_a_failed_request_raises_its_error(gateway, client):
    async def script(request):
        events = Events(request.id)
        await gateway.send(request, events.accepted(), *events.begin(), events.failed())

    gateway.script = script
    with pytest.raises(RequestFailed, match="no provider answers") as caught:
        await client.chat("x")
    assert (caught.value.code, caught.value.retry_after_s) == ("provider_unavailable", 2.0)
    await asyncio.sleep(0.05)
    assert gateway.cancelled == []


async def test_e1_concurrent_requests_get_their_own_answers(gateway, client):
    async def script(request):
        events = Events(request.id)
        prompt = msgspec.json.decode(request.body)["messages"][0]["content"]
        await gateway.send(request, events.accepted(), *events.begin(), *events.deltas(f"re: {prompt}"))
        await gateway.send(request, events.completed())

    gateway.script = script
    replies = await asyncio.gather(*(client.chat(f"q{number}", stream=True) for number in range(30)))
    assert [reply.text for reply in replies] == [f"re: q{number}" for number in range(30)]
    assert client._subscription._feeds == {}


async def test_d8_cancelling_by_id_publishes_the_cancel_event(gateway, client):
    await client.cancel("some-id", "not wanted")
    await until(lambda: gateway.cancelled == ["some-id"])


async def test_d8_no_end_by_the_deadline_raises_and_cancels(gateway, client):
    with pytest.raises(NoReply) as caught:
        await with_timings(client, grace_s=0.1).chat("x", timeout_s=0.2)
    assert caught.value.code == "deadline_exceeded"
    await until(lambda: gateway.cancelled == [gateway.requests[0].id])


async def test_d8_the_accepted_event_sets_the_deadline(gateway, client):
    async def script(request):
        events = Events(request.id, left_ms=200)
        await gateway.send(request, events.accepted())

    gateway.script = script
    began_s = time.monotonic()
    with pytest.raises(NoReply):
        await with_timings(client, grace_s=0.1).chat("x", timeout_s=60)
    assert time.monotonic() - began_s < 2


@pytest.mark.parametrize("prompt", ["", None, [], {}, {"role": "user"}, ["text"], 7, b"bytes"])
async def test_k2_an_empty_or_wrong_prompt_is_a_value_error(gateway, client, prompt):
    with pytest.raises(ValueError, match="use a text or a list of OpenAI messages"):
        await client.chat(prompt)
    with pytest.raises(ValueError, match="use a text or a list of OpenAI messages"):
        client.stream(prompt)
    with pytest.raises(ValueError, match="use a text or a list of OpenAI messages"):
        await client.submit(prompt)
    assert gateway.requests == []


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
async def test_k2_a_timeout_of_no_time_is_a_value_error(gateway, client, timeout_s):
    with pytest.raises(ValueError, match="timeout_s is"):
        await client.chat("x", timeout_s=timeout_s)
    with pytest.raises(ValueError, match="timeout_s is"):
        await client.submit("x", timeout_s=timeout_s)
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"timeout_s": 3601}, "timeout_s is 3601: .*at most 3600 in the interactive lane"),
        ({"timeout_s": 86401, "lane": "batch"}, "timeout_s is 86401: .*at most 86400 in the batch lane"),
        ({"timeout_s": float("inf")}, "timeout_s is inf: .*at most 3600"),
        ({"timeout_s": "5"}, "timeout_s is '5': use a number of seconds"),
        ({"lane": "fast"}, "lane is 'fast': use one of interactive, batch"),
    ],
)
async def test_k2_a_wrong_deadline_or_lane_is_a_value_error(gateway, client, wrong, fix):
    with pytest.raises(ValueError, match=fix):
        await client.chat("x", **wrong)
    with pytest.raises(ValueError, match=fix):
        client.stream("x", **wrong)
    assert gateway.requests == []


async def test_e4_a_wrong_deadline_or_state_of_jobs_is_a_value_error(gateway, client):
    with pytest.raises(ValueError, match="at most 86400 in the batch lane"):
        await client.submit("x", timeout_s=90_000)
    with pytest.raises(ValueError, match="state is 'done': use one of queued, running, completed, failed"):
        await client.jobs(state="done")
    assert gateway.requests == []
    await client.submit("x", timeout_s=86_400)
    await until(lambda: len(gateway.requests) == 1)


@pytest.mark.parametrize(
    ("keyword", "fix"),
    [
        ("timeout", "did you mean 'timeout_s'"),
        ("rol", "did you mean 'role'"),
        ("user_id", "did you mean 'user'"),
        ("system", "begin the messages with {'role': 'system'"),
    ],
)
async def test_k2_a_keyword_like_an_argument_warns_and_is_sent(gateway, client, keyword, fix):
    gateway.script = lambda request: answer_whole(gateway, request)
    for send in (client.chat, client.submit):
        with pytest.warns(UserWarning, match=f"the keyword '{keyword}' .*: .*{fix}") as issued:
            await send("x", **{keyword: "y"})
        assert [warning.filename for warning in issued] == [__file__]
    await until(lambda: len(gateway.requests) == 2)
    assert [msgspec.json.decode(request.body)[keyword] for request in gateway.requests] == ["y", "y"]


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"role": 5}, "role is 5: use a text"),
        ({"user": None}, "user is None: use a text"),
        ({"degrade": "no"}, "degrade is 'no': use one of True, False"),
        ({"seed": object()}, "the request cannot be written as JSON"),
        ({"stop": "\ud800"}, "the request cannot be written as JSON"),
    ],
)
async def test_k2_a_value_that_cannot_be_sent_is_a_value_error(gateway, client, wrong, fix):
    for send in (client.chat, client.submit):
        with pytest.raises(ValueError, match=fix):
            await send("x", **wrong)
    with pytest.raises(ValueError, match=fix):
        client.stream("x", **wrong)
    assert gateway.requests == []


@pytest.mark.parametrize("wrong", [None, 5, uuid4()], ids=type)
async def test_k2_an_id_that_is_not_a_text_is_a_value_error(gateway, client, wrong):
    for call in (client.job, client.result, client.cancel):
        with pytest.raises(ValueError, match="is not the id of a request: use 1 to 64 of"):
            await call(wrong)
    with pytest.raises(ValueError, match="is not the id of a request: use 1 to 64 of"):
        client.resume(wrong)


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ({"timeout_s": None}, "timeout_s is None: use a number of seconds"),
        ({"timeout_s": 0}, "timeout_s is 0: use seconds greater than 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan: use seconds greater than 0"),
        ({"after_seq": "7"}, "after_seq is '7': use the seq of an event"),
    ],
)
async def test_k2_a_wrong_argument_of_resume_is_a_value_error(client, wrong, fix):
    with pytest.raises(ValueError, match=fix):
        client.resume("some-id", **wrong)


@pytest.mark.parametrize(
    ("reason", "fix"), [(5, "reason is 5: use a text"), ("x" * 9_000_000, "the reason has 9,000,000")]
)
async def test_k2_a_wrong_reason_of_a_cancel_is_a_value_error(gateway, client, reason, fix):
    with pytest.raises(ValueError, match=fix):
        await client.cancel("some-id", reason)
    await client._nc.flush()
    assert gateway.cancelled == []


async def test_k2_a_keyword_of_another_call_warns(gateway, client):
    with pytest.warns(UserWarning, match="a job is always in the batch lane"):
        await client.submit("x", lane="interactive")


async def test_k2_messages_given_twice_are_a_value_error(gateway, client):
    messages = [{"role": "user", "content": "y"}]
    with pytest.raises(ValueError, match="messages is given twice"):
        await client.chat("x", messages=messages)
    with pytest.raises(ValueError, match="messages is given twice"):
        client.stream("x", messages=messages)
    assert gateway.requests == []


async def test_k2_every_call_of_a_closed_client_raises_client_closed(gateway, client):
    await client.close()
    await client.close()
    for call in (client.chat, client.submit, client.job, client.result, client.cancel):
        with pytest.raises(ClientClosed, match="the client is closed"):
            await call("x")
    with pytest.raises(ClientClosed):
        await client.jobs()
    for call in (client.stream, client.resume):
        with pytest.raises(ClientClosed):
            call("x")
    assert gateway.requests == []


async def test_k2_a_stream_of_a_client_that_is_closed_ends_soon(gateway, client):
    async with client.stream("x") as unread:
        await until(lambda: len(gateway.requests) == 1)
        waiting = asyncio.create_task(anext(aiter(unread)))
        created = client.stream("y")
        await client.close()
        with pytest.raises(ClientClosed):
            await anext(aiter(created))
        async with asyncio.timeout(10):
            with pytest.raises(ClientClosed):
                await waiting
    await gateway.nc.flush()
    await asyncio.sleep(0.05)
    assert gateway.cancelled == []


async def test_k2_a_request_too_large_is_not_sent(gateway, client):
    with pytest.raises(RequestTooLarge, match="67,108,864") as caught:
        await client.chat("x" * 70_000_000)
    assert (caught.value.code, caught.value.http_status) == ("request_too_large", 413)
    assert gateway.requests == []


async def test_k2_a_server_without_the_streams_accepts_nothing(own_nats_server):
    async with await Client.connect(own_nats_server.url) as client:
        with pytest.raises(NotAccepted, match="JetStream did not accept the request"):
            await client.chat("x", timeout_s=0.2)


async def test_j1_the_span_of_a_job_that_was_not_sent_has_the_error(own_nats_server):
    ends = []

    class Span:
        traceparent = None

        def end(self, *, error=None):
            ends.append(error)

    class Tracer(NoTracer):
        def start(self, *_arguments, **_more):
            return Span()

    async with await Client.connect(own_nats_server.url, tracer=Tracer()) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.submit("hello")
    assert ends == ["CancelledError"]


async def test_d10_a_missing_server_is_reported_at_once(free_port):
    url = f"nats://127.0.0.1:{free_port()}"
    began_s = time.monotonic()
    with pytest.raises(BrokerUnreachable) as caught:
        await Client.connect(url)
    assert time.monotonic() - began_s < 3
    assert url in str(caught.value)
    assert "penstock up" in str(caught.value)
    assert "NATS_URL" in str(caught.value)
    assert "Connect call failed" in str(caught.value), "the error contains the reason, too"


async def test_k2_one_live_server_among_several_is_enough(nats_server, free_port):
    url = f"nats://127.0.0.1:{free_port()},{nats_server.url}"
    async with await Client.connect(url) as client:
        assert client._nc.is_connected


async def test_k5_the_account_is_that_of_the_environment(nats_server, gateway, monkeypatch):
    gateway.script = lambda request: answer_whole(gateway, request)
    monkeypatch.setenv("PENSTOCK_ACCOUNT", gateway.account)
    async with await Client.connect(nats_server.url) as client:
        assert (await client.chat("x", timeout_s=10)).text == "forty-two"
    monkeypatch.setenv("PENSTOCK_ACCOUNT", "another")
    async with await Client.connect(nats_server.url, account=gateway.account) as client:
        assert (await client.chat("x", timeout_s=10)).text == "forty-two"
    monkeypatch.setenv("PENSTOCK_ACCOUNT", "a.b")
    with pytest.raises(ValueError, match=r"'a\.b' is not the name of an account"):
        await Client.connect(nats_server.url)


@pytest.mark.parametrize("wrong", ["a.b", "", "*", "x" * 65, "a b"])
async def test_k5_an_invalid_account_name_is_a_value_error(nats_server, wrong):
    with pytest.raises(ValueError, match="not the name of an account"):
        await Client.connect(nats_server.url, account=wrong)


@pytest.mark.parametrize("wrong", ["*", ">", "", "a.b", "a b", "x\r\nPUB llm.cancel.demo.zz 0\r\n", "ü"])
async def test_k5_wildcards_in_ids_are_value_errors(gateway, client, wrong):
    with pytest.raises(ValueError, match="not the id of a request"):
        client.resume(wrong)
    with pytest.raises(ValueError, match="not the name of a client"):
        client.resume("id", client=wrong)
    with pytest.raises(ValueError, match="not the id of a request"):
        await client.cancel(wrong)
    await client._nc.flush()
    assert gateway.cancelled == []


async def test_d7_junk_on_the_reply_subject_is_ignored(gateway, client):
    async def script(request):
        events = Events(request.id)
        subject = f"llm.reply.{gateway.account}.{request.client}.{request.id}"
        await gateway.send(request, events.accepted())
        for junk in (b"", b"\xff", b"{}", b'{"type":"delta","seq":"1","id":"x"}'):
            await gateway.nc.publish(subject, junk)
        await gateway.send(request, *events.begin(), *events.deltas("fine"), events.completed())

    gateway.script = script
    assert (await client.chat("x", stream=True)).text == "fine"


async def test_j1_the_request_carries_the_trace(nats_server, gateway):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    class Tracer(NoTracer):
        def start(self, name, kind, **_):
            return NO_TRACER.start(name, kind, parent=parent)

    gateway.script = lambda request: answer_whole(gateway, request)
    async with await Client.connect(nats_server.url, account=gateway.account, tracer=Tracer()) as client:
        await client.chat("x")
    assert gateway.request_headers[0][headers.TRACEPARENT] == parent
