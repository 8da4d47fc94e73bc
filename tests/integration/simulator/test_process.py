"""The process with its limits, control routes and counts, over aiohttp."""

import asyncio
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time

import aiohttp
import pytest


async def until(condition, timeout_s=20):
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_it_prints_its_url_and_stops_cleanly(start_simulator, connect):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        simulator = start_simulator()
        assert set(simulator.ready) == {"event", "service", "url"}
        assert (simulator.ready["event"], simulator.ready["service"]) == ("ready", "simulator")
        async with connect(simulator).session.get(f"{simulator.url}/health") as response:
            assert response.status == 204
        simulator.process.send_signal(number)
        rest, errors = await asyncio.to_thread(simulator.process.communicate, timeout=20)
        assert (simulator.process.returncode, rest, errors) == (0, b"", b"")


async def test_it_stops_within_seconds_while_clients_wait(start_simulator, connect):
    simulator = start_simulator()
    waiting = asyncio.ensure_future(connect(simulator).chat("m--silent"))

    async def asked():
        return (await connect(simulator).counts())["total_attempts"] == 1

    await until(asked)
    began = time.monotonic()
    assert await asyncio.to_thread(simulator.stop) == (0, "", "")
    assert time.monotonic() - began < 3
    with pytest.raises(aiohttp.ClientError):
        await waiting


def test_k6_invalid_settings_prevent_the_start(start_simulator):
    with pytest.raises(AssertionError, match=r"SIMULATOR_PORT(.|\n)*SIMULATOR_LIMITS") as caught:
        start_simulator(SIMULATOR_PORT="x", SIMULATOR_LIMITS="[]")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        *(
            (("--port", port), {}, "is not a port")
            for port in ("99999", "-1", "abc", "", "70000", "9" * 5000)
        ),
        *(((), {"SIMULATOR_PORT": port}, "SIMULATOR_PORT") for port in ("99999", "-1", "abc")),
        (
            ("--port", "0"),
            {"SIMULATOR_HOST": "no.such.host.invalid"},
            "cannot listen on no.such.host.invalid",
        ),
        (("--port", "TAKEN"), {}, "cannot listen on 127.0.0.1"),
    ],
)
def test_k6_an_address_that_cannot_be_used_prevents_the_start(arguments, variables, expected):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "services.simulator",
                *(port if each == "TAKEN" else each for each in arguments),
            ],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


async def test_unknown_keys_get_an_error_in_openais_shape(start_simulator, connect):
    http = connect(start_simulator(SIMULATOR_API_KEYS="right,other"))
    async with http.chat("m", key="right") as response:
        assert response.status == 200
    async with http.chat("m", key="wrong") as response:
        assert response.status == 401
        error = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_api_key"
    async with http.session.get(f"{http.url}/v1/models") as response:
        assert response.status == 401


async def test_a6_keys_change_at_run_time_and_calls_are_counted_by_key(start_simulator, connect):
    http = connect(start_simulator(SIMULATOR_API_KEYS="old"))
    statuses = []
    for accepted, keys in (None, ("old", "new")), (["old", "new"], ("old", "new")), (["new"], ("old", "new")):
        if accepted is not None:
            assert await http.put("keys", {"accepted": accepted}) == {"accepted": len(accepted)}
        for key in keys:
            async with http.chat("m", key=key) as response:
                statuses.append(response.status)
    assert statuses == [200, 401, 200, 200, 401, 200]
    digests = {key: hashlib.sha256(key.encode()).hexdigest()[:12] for key in ("old", "new")}
    report = await http.counts()
    assert report["keys"] == {digests["old"]: 3, digests["new"]: 3}
    assert report["models"]["m"]["errors"] == {"401": 2}
    assert await http.put("keys", {"accepted": []}) == {"accepted": 0}
    async with http.chat("m", key="whatever") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":[{"content":3}]}',
    ],
)
async def test_an_unreadable_body_is_a_400(http, body):
    async with http.session.post(f"{http.url}/v1/chat/completions", data=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"
    assert (await http.counts())["total_attempts"] == 1


async def test_unknown_paths_and_methods_are_errors_in_openais_shape(http):
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 404)):
        async with http.session.request(method, http.url + path) as response:
            assert response.status == status
            assert (await response.json())["error"]["message"]


async def test_a_stream_is_sent_in_many_small_writes(http):
    async with http.chat("m", "Go on [[tokens=100]]", stream=True) as response:
        chunks = [chunk async for chunk, end in response.content.iter_chunks() if end and chunk]
    assert len(chunks) >= 100
    assert chunks[-1] == b"data: [DONE]\n\n"


async def test_a_body_of_five_megabytes_is_accepted(http):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 1_000_000}]}).encode()
    async with http.session.post(f"{http.url}/v1/chat/completions", data=io.BytesIO(body)) as response:
        assert response.status == 200
        assert (await response.json())["usage"]["prompt_tokens"] == 1_000_004


async def test_c1_a_window_admits_exactly_its_limit_per_key(http):
    await http.put("limits", {"limited": {"requests_per_minute": 3}})
    statuses, last = [], None
    for key in ("a",) * 5 + ("b",):
        async with http.chat("limited", key=key) as response:
            statuses.append(response.status)
            last = response.headers if response.status == 429 else last
    assert statuses == [200, 200, 200, 429, 429, 200]
    assert 55 < int(last["retry-after"]) <= 60
    assert last["x-ratelimit-limit-requests"] == "3"
    assert last["x-ratelimit-remaining-requests"] == "0"
    assert last["x-ratelimit-reset-requests"].endswith("s")
    counts = await http.counts("limited")
    assert (counts["ok"], counts["errors"]) == (4, {"429": 2})


async def test_c1_concurrent_requests_never_exceed_the_limit(http):
    await http.put(
        "limits", {"limited": {"requests_per_minute": 20, "algorithm": "token_bucket", "window_s": 600}}
    )

    async def once():
        async with http.chat("limited") as response:
            return response.status

    statuses = await asyncio.gather(*(once() for _ in range(60)))
    assert statuses.count(200) == 20


async def test_c4_a_request_after_its_retry_after_is_admitted(http):
    limit = {"requests_per_minute": 1, "window_s": 1.0}
    await http.put("limits", {"limited": limit})
    async with http.chat("limited") as response:
        assert response.status == 200
    async with http.chat("limited") as response:
        assert response.status == 429
        await asyncio.sleep(int(response.headers["retry-after-ms"]) / 1e3)
    async with http.chat("limited") as response:
        assert response.status == 200


async def test_tokens_are_charged_by_estimate_and_corrected_to_usage(http):
    await http.put("limits", {"limited": {"tokens_per_minute": 1000}})
    async with http.chat("limited", "Hello", max_tokens=900) as response:
        usage = (await response.json())["usage"]
        assert int(response.headers["x-ratelimit-remaining-tokens"]) < 100
    async with http.chat("limited", "Hello", max_tokens=900) as response:
        assert response.status == 200
        remaining = int(response.headers["x-ratelimit-remaining-tokens"])
    charge = 2 + 4 + 900  # four characters per token, the overhead of a message, the longest answer
    assert remaining == 1000 - usage["total_tokens"] - charge


async def test_concurrency_is_limited(http):
    await http.put("limits", {"limited--slow=0.5": {"concurrency": 2}})

    async def once():
        async with http.chat("limited--slow=0.5") as response:
            return response.status

    statuses = await asyncio.gather(*(once() for _ in range(4)))
    assert sorted(statuses) == [200, 200, 429, 429]
    assert await once() == 200


async def test_c4_groqs_headers_are_per_day_and_its_413_names_the_limit(start_simulator, connect):
    limits = {"m": {"requests_per_minute": 30, "requests_per_day": 1000, "tokens_per_minute": 8000}}
    http = connect(start_simulator(SIMULATOR_HEADER_STYLE="groq", SIMULATOR_LIMITS=json.dumps(limits)))
    async with http.chat("m") as response:
        assert response.headers["x-ratelimit-limit-requests"] == "1000"
        assert response.headers["x-ratelimit-limit-tokens"] == "8000"
        assert (await response.json())["x_groq"]["id"]
    async with http.chat("m", max_tokens=9000) as response:
        assert response.status == 413
        assert "tokens per minute (TPM): Limit 8000" in (await response.json())["error"]["message"]


async def test_the_context_length_is_enforced(start_simulator, connect):
    http = connect(start_simulator(SIMULATOR_CONTEXT='{"m": 100}'))
    async with http.chat("m", "word " * 50) as response:
        assert response.status == 200
    for text, options in (("word " * 120, {}), ("word", {"max_tokens": 100})):
        async with http.chat("m", text, **options) as response:
            assert response.status == 400
            assert (await response.json())["error"]["code"] == "context_length_exceeded"


async def test_a5_only_the_configured_models_are_served(start_simulator, connect):
    http = connect(start_simulator(SIMULATOR_MODELS="a,owner/b"))

    async def listed():
        async with http.session.get(f"{http.url}/v1/models") as response:
            return [model["id"] for model in (await response.json())["data"]]

    assert await listed() == ["a", "owner/b"]
    async with http.session.get(f"{http.url}/v1/models/owner/b") as response:
        assert (await response.json())["id"] == "owner/b"
    for model, status in (("a", 200), ("a--503", 503), ("c", 404)):
        async with http.chat(model) as response:
            assert response.status == status
    await http.put("behaviour", {"a": "withdrawn"})
    assert await listed() == ["owner/b"]
    async with http.chat("a") as response:
        assert response.status == 404
    await http.put("models", {"models": ["c"]})
    async with http.chat("c") as response:
        assert response.status == 200


async def test_a_behaviour_is_set_and_removed_at_run_time(http):
    for behaviour, status in (("503", 503), ("429=1", 429), ("", 200)):
        await http.put("behaviour", {"changing": behaviour})
        async with http.chat("changing") as response:
            assert response.status == status
    async with http.session.put(f"{http.url}/sim/behaviour", json={"changing": "nonsense"}) as response:
        assert response.status == 400
        assert "known: healthy" in (await response.json())["error"]["message"]


async def test_speed_applies_to_streams_and_whole_replies(http):
    await http.put("speed", {"latency_ms": 50, "first_token_ms": 50, "tokens_per_second": 100})
    try:
        for streamed in (False, True):
            began = time.monotonic()
            async with http.chat("m", "[[tokens=20]]", stream=streamed) as response:
                await response.read()
            assert 0.28 < time.monotonic() - began < 5  # 50 ms + 50 ms + 19 tokens of 10 ms
    finally:
        await http.put("speed", {"latency_ms": 0, "first_token_ms": 0, "tokens_per_second": 0})


async def test_held_answers_wait_until_they_are_released(http):
    await http.put("hold", {"after_tokens": 5})
    async with http.chat("held", "[[tokens=20]]", stream=True) as response:
        whole = asyncio.ensure_future(http.chat("held", "[[tokens=20]]"))

        async def held():
            return (await http.counts("held"))["in_flight"] == 2

        await until(held)
        for _ in range(6):  # the opening chunk and five tokens
            await response.content.readuntil(b"\n\n")
        assert await held()
        await http.put("hold", {})
        assert b"[DONE]" in await response.read()
    async with await whole as response:
        assert response.status == 200
    assert (await http.counts("held"))["ok"] == 2


async def test_d8_a_disconnect_stops_the_generation(http):
    await http.put("speed", {"tokens_per_second": 50})
    try:
        async with http.chat("hung-up", "[[tokens=5000]]", stream=True) as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        waiting = asyncio.ensure_future(http.chat("hung-up", "[[tokens=5000]]"))

        async def running():
            return (await http.counts("hung-up"))["attempts"] == 2

        await until(running)
        waiting.cancel()

        async def stopped():
            return (await http.counts("hung-up"))["in_flight"] == 0

        await until(stopped)
        counts = await http.counts("hung-up")
    finally:
        await http.put("speed", {"tokens_per_second": 0})
    assert (counts["cancelled"], counts["ok"], counts["streams"]) == (2, 0, 1)
    assert counts["completion_tokens"] < 200


async def test_d8_a_disconnect_stops_a_fast_stream_too(http):
    async with http.chat("fast", "[[tokens=900000]]", stream=True) as response:
        await response.content.readuntil(b"\n\n")
        response.close()

    async def stopped():
        return (await http.counts("fast"))["cancelled"] == 1

    await until(stopped)
    assert (await http.counts("fast"))["completion_tokens"] < 900_000


async def test_d8_a_disconnect_after_a_long_request_is_detected(http):
    waiting = asyncio.ensure_future(http.chat("long--silent", "word " * 60_000))

    async def running():
        return "long--silent" in (await http.counts())["models"]

    await until(running)
    waiting.cancel()

    async def stopped():
        return (await http.counts("long--silent"))["cancelled"] == 1

    await until(stopped)


async def test_f2_the_counts_are_exact(http):
    async def once(model, **options):
        async with http.chat(model, **options) as response:
            await response.read()

    await asyncio.gather(*(once("counted--slow=0.4") for _ in range(5)))
    await once("counted--slow=0.4", stream=True)
    for _ in range(10):
        await once("counted--flaky")
    slow, flaky = await http.counts("counted--slow=0.4"), await http.counts("counted--flaky")
    assert (slow["attempts"], slow["ok"], slow["streams"], slow["max_in_flight"]) == (6, 6, 1, 5)
    assert (slow["prompt_tokens"], slow["completion_tokens"]) == (6 * 5, 6 * 40)
    assert (flaky["ok"], flaky["errors"]) == (7, {"503": 3})
    report = await http.counts()
    assert report["total_attempts"] == len(report["requests"]) == 16
    last = report["requests"][-1]
    canonical = json.dumps([{"content": "Hello", "role": "user"}], separators=(",", ":"), sort_keys=True)
    assert last["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert (last["model"], last["status"]) == ("counted--flaky", 503)
    async with http.session.post(f"{http.url}/sim/reset") as response:
        assert (await response.json())["total_attempts"] == 0


@pytest.mark.parametrize("path", ["embeddings", "moderations"])
async def test_behaviours_apply_to_the_other_endpoints(http, path):
    async def ask(model):
        return await http.session.post(f"{http.url}/v1/{path}", json={"model": model, "input": "text"})

    for model, status in (("o", 200), ("o--429", 429), ("o--context-length", 400)):
        async with await ask(model) as response:
            assert response.status == status
    with pytest.raises(aiohttp.ClientError):
        await ask("o--reset")
    async with await ask("o--cut") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert (await http.counts("o"))["prompt_tokens"] == 1
