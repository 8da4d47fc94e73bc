"""Every behaviour through the SDKs of OpenAI and Groq, over HTTP."""

import json

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Tell me about water."}]


async def whole(client, model, **options):
    return await client.chat.completions.create(model=model, messages=MESSAGES, **options)


async def stream(client, model, **options):
    """The received contents and finish reasons, and the exception that ended the stream, if any."""
    received, reasons = [], []
    try:
        async for chunk in await whole(client, model, stream=True, **options):
            for choice in chunk.choices:
                received.append(choice.delta.content or "")
                reasons.append(choice.finish_reason)
    except Exception as error:  # noqa: BLE001 - the tests check its type
        return received, reasons, error
    return received, reasons, None


async def test_e1_a_stream_has_the_content_of_the_whole_reply(sdk):
    _, client = sdk
    reply = await whole(client, "m")
    received, reasons, error = await stream(client, "m")
    assert error is None
    assert "".join(received) == reply.choices[0].message.content
    assert reasons[-1] == reply.choices[0].finish_reason == "stop"
    assert len(received) == reply.usage.completion_tokens + 2


async def test_usage_of_a_stream_equals_usage_of_the_whole_reply(sdk):
    module, client = sdk
    reply = await whole(client, "m")
    # Groq's SDK lacks the parameter, although its service accepts it.
    options = {"extra_body": {"stream_options": {"include_usage": True}}}
    chunks = [chunk async for chunk in await whole(client, "m", stream=True, **options)]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage if module.__name__ == "openai" else chunks[-1].to_dict()["usage"]
    total = usage.total_tokens if hasattr(usage, "total_tokens") else usage["total_tokens"]
    assert total == reply.usage.total_tokens


@pytest.mark.parametrize(
    ("behaviour", "error", "status", "code"),
    [
        ("429", "RateLimitError", 429, "rate_limit_exceeded"),
        ("429-bare", "RateLimitError", 429, "rate_limit_exceeded"),
        ("500", "InternalServerError", 500, None),
        ("503", "InternalServerError", 503, None),
        ("flaky=1", "InternalServerError", 503, None),
        ("context-length", "BadRequestError", 400, "context_length_exceeded"),
        ("content-filter", "BadRequestError", 400, "content_filter"),
        ("bad-request", "BadRequestError", 400, None),
        ("unauthorized", "AuthenticationError", 401, "invalid_api_key"),
        ("forbidden", "PermissionDeniedError", 403, "forbidden"),
        ("too-large", "APIStatusError", 413, "rate_limit_exceeded"),
        ("withdrawn", "NotFoundError", 404, "model_not_found"),
    ],
)
async def test_an_error_status_raises_the_exception_of_the_sdk(sdk, http, behaviour, error, status, code):
    module, client = sdk
    model = f"m--{behaviour}"
    for streamed in (False, True):
        with pytest.raises(getattr(module, error)) as caught:
            await whole(client, model, stream=streamed)
        assert caught.value.status_code == status
        assert caught.value.response.json()["error"]["code"] == code
        assert caught.value.response.headers["x-request-id"].startswith("req_")
        after = {"429": "2"}.get(behaviour)
        assert caught.value.response.headers.get("retry-after") == after
    counts = await http.counts(model)
    assert counts["errors"] == {str(status): 2}
    assert (counts["attempts"], counts["ok"], counts["completion_tokens"]) == (2, 0, 0)


async def test_reset_breaks_the_connection_before_a_byte(sdk, http):
    module, client = sdk
    for streamed in (False, True):
        with pytest.raises(module.APIConnectionError):
            await whole(client, "m--reset", stream=streamed)
    assert (await http.counts("m--reset"))["broken"] == 2


async def test_d1_silent_never_answers(sdk):
    module, client = sdk
    for streamed in (False, True):
        with pytest.raises(module.APITimeoutError):
            await whole(client, "m--silent", stream=streamed, timeout=0.5)


async def test_f4_cached_reports_its_share_of_the_prompt(sdk):
    _, client = sdk
    for model, share in (("m--cached", 0.5), ("m--cached=0.25", 0.25), ("m--cached=1", 1)):
        usage = (await whole(client, model)).to_dict()["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == int(usage["prompt_tokens"] * share) > 0
    assert "prompt_tokens_details" not in (await whole(client, "m")).to_dict()["usage"]


async def test_slow_delays_a_complete_answer(sdk):
    module, client = sdk
    assert (await whole(client, "m--slow=0.1")).choices[0].finish_reason == "stop"
    with pytest.raises(module.APITimeoutError):
        await whole(client, "m--slow=5", timeout=0.1)


async def test_d1_the_first_token_is_late(sdk):
    _, client = sdk
    received, _, error = await stream(client, "m--slow-first-token=0.1")
    assert (len(received), error) == (42, None)
    received, _, error = await stream(client, "m--slow-first-token=5", timeout=0.5)
    assert received == []
    assert type(error).__name__ in ("ReadTimeout", "APITimeoutError")
    assert (await whole(client, "m--slow-first-token=0.1")).choices[0].finish_reason == "stop"


async def test_d6_cut_closes_in_the_middle(sdk, http):
    module, client = sdk
    with pytest.raises(module.APIConnectionError):
        await whole(client, "m--cut=3")
    received, reasons, error = await stream(client, "m--cut=3")
    assert len(received) == 1 + 3
    assert set(reasons) == {None}
    assert error is not None
    counts = await http.counts("m--cut=3")
    assert (counts["broken"], counts["ok"], counts["completion_tokens"]) == (2, 0, 40 + 3)


async def test_d6_stall_falls_silent_in_the_middle(sdk):
    module, client = sdk
    with pytest.raises(module.APIConnectionError):
        await whole(client, "m--stall=3", timeout=0.5)
    received, reasons, error = await stream(client, "m--stall=3", timeout=0.5)
    assert len(received) == 1 + 3
    assert set(reasons) == {None}
    assert type(error).__name__ in ("ReadTimeout", "APITimeoutError")


async def test_d6_malformed_is_not_json(sdk, http):
    _, client = sdk
    with pytest.raises(ValueError, match=r"(?i)json|delimiter|unterminated|expecting"):
        await whole(client, "m--malformed=3")
    received, _, error = await stream(client, "m--malformed=3")
    assert len(received) == 1 + 3
    assert isinstance(error, ValueError)
    assert (await http.counts("m--malformed=3"))["broken"] == 2


async def test_d6_the_sdks_accept_a_stream_without_done_or_finish_reason(sdk):
    """A gateway has to check for both itself."""
    _, client = sdk
    received, reasons, error = await stream(client, "m--no-done")
    assert (len(received), reasons[-1], error) == (42, "stop", None)
    received, reasons, error = await stream(client, "m--no-finish")
    assert (len(received), set(reasons), error) == (41, {None}, None)
    assert (await whole(client, "m--no-finish")).choices[0].finish_reason is None


async def test_d6_an_error_event_in_a_stream_raises_an_exception(sdk):
    module, client = sdk
    received, _, error = await stream(client, "m--error-event=3")
    assert len(received) == 1 + 3
    assert isinstance(error, module.APIError)


async def test_d6_html_and_empty_give_no_choices(sdk):
    _, client = sdk
    assert "<html>" in str(await whole(client, "m--html"))
    assert (await stream(client, "m--html"))[0] == []
    assert (await whole(client, "m--empty")).choices == []
    assert await stream(client, "m--empty") == ([], [], None)


async def test_flapping_is_healthy_then_failing(sdk, http):
    module, client = sdk
    assert (await whole(client, "m--flapping=0.3")).choices
    statuses = set()
    while statuses != {"up", "down"}:
        try:
            await whole(client, "m--flapping=0.3")
            statuses.add("up")
        except module.InternalServerError:
            statuses.add("down")
    counts = await http.counts("m--flapping=0.3")
    assert counts["ok"] + counts["errors"]["503"] == counts["attempts"]


async def test_e1_tools_json_mode_images_reasoning_and_choices(sdk):
    _, client = sdk
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    called = (await whole(client, "m", tools=[tool], tool_choice="required")).choices[0]
    assert called.finish_reason == "tool_calls"
    assert "city" in json.loads(called.message.tool_calls[0].function.arguments)
    fragments = [
        chunk.choices[0].delta.tool_calls[0].function.arguments
        async for chunk in await whole(client, "m", tools=[tool], tool_choice="required", stream=True)
        if chunk.choices[0].delta.tool_calls
    ]
    assert "".join(fragments) == called.message.tool_calls[0].function.arguments
    object_mode = await whole(client, "m", response_format={"type": "json_object"})
    assert "answer" in json.loads(object_mode.choices[0].message.content)
    assert (await whole(client, "m-reasoning")).choices[0].message.reasoning
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [{"type": "text", "text": "What is it?"}, image]
    seen = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": parts}])
    assert "1 image" in seen.choices[0].message.content
    limited = await whole(client, "m", max_tokens=4)
    assert (limited.choices[0].finish_reason, limited.usage.completion_tokens) == ("length", 4)


async def test_several_choices(sdk):
    module, client = sdk
    options = {"extra_body": {"n": 3}} if module.__name__ == "groq" else {"n": 3}
    reply = await whole(client, "m", **options)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    texts = ["", "", ""]
    async for chunk in await whole(client, "m", stream=True, **options):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in reply.choices]


async def test_the_seed_decides_the_answer(sdk):
    _, client = sdk
    one, same, other = [
        (await whole(client, "m", seed=seed)).choices[0].message.content for seed in (7, 7, 8)
    ]
    assert one == same != other


async def test_logprobs_and_stop_sequences(sdk):
    _, client = sdk
    (choice,) = (await whole(client, "m", logprobs=True, top_logprobs=2)).choices
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert {len(token.top_logprobs) for token in choice.logprobs.content} == {2}
    received, reasons, _ = await stream(client, "m", stop=["This is"])
    assert "".join(received) == choice.message.content.partition("This is")[0]
    assert reasons[-1] == "stop"


async def test_embeddings_and_models(sdk):
    _, client = sdk
    reply = await client.embeddings.create(model="text-embedding-3-small", input=["one text", "another"])
    assert [len(row.embedding) for row in reply.data] == [1536, 1536]
    assert sum(value * value for value in reply.data[0].embedding) == pytest.approx(1, abs=1e-5)
    short = await client.embeddings.create(
        model="e", input="one text", encoding_format="float", extra_body={"dimensions": 64}
    )
    assert len(short.data[0].embedding) == 64
    listed = await client.models.list()
    assert "sim-chat-large" in {model.id for model in listed.data}
    assert (await client.models.retrieve("sim-chat-large")).id == "sim-chat-large"


async def test_g1_moderations(http):
    """Only OpenAI's SDK has moderations."""
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{http.url}/v1", max_retries=0) as client:
        reply = await client.moderations.create(input=["Good morning", "how to build a bomb"])
        assert [result.flagged for result in reply.results] == [False, True]
        assert reply.results[1].categories.illicit_violent
        assert (reply.id[:5], reply.model) == ("modr-", "omni-moderation-latest")
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
        parts = [{"type": "text", "text": "how to build"}, {"type": "text", "text": "a bomb"}, image]
        reply = await client.moderations.create(input=parts)
        (result,) = reply.results
        assert result.category_applied_input_types.violence == ["text", "image"]
        for wrong in ([], "", ["a", parts[0]], [{"type": "text"}]):
            with pytest.raises(openai.BadRequestError):
                await client.moderations.create(input=wrong)
        await client.moderations.create(input=[image])
