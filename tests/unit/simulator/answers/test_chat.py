import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.answers.chat import DEFAULT_TOKENS, compose, tokens
from services.simulator.answers.language import detect
from services.simulator.answers.replies import Head, script_stream, script_whole
from services.simulator.answers.requests import CompletionRequest, fingerprint
from services.simulator.behaviour.model_names import HEALTHY, parse_behaviour
from services.simulator.http.errors import ApiError

HEAD = Head(id="chatcmpl-1", model="m", created_s=1, prompt_tokens=3, style="openai")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def answer_to(text="What is a penstock?", base="m", seed=1, **options):
    request = msgspec.convert(
        {"model": base, "messages": [{"role": "user", "content": text}], **options}, CompletionRequest
    )
    return compose(base, request, request.measure(), seed)


def stream_events(*answers, include_usage=False):
    script = script_stream(HEAD, list(answers), HEALTHY, include_usage=include_usage)
    return [*script.opening, *script.tokens, *script.closing]


def json_chunks(events):
    return [json.loads(event[6:]) for event in events if event != b"data: [DONE]\n\n"]


@given(st.text())
def test_the_tokens_of_a_text_join_to_the_text(text):
    assert "".join(tokens.split(text)) == text


@given(st.text(max_size=200), st.integers(1, 120), st.sampled_from(["m", "m-reasoning"]))
def test_e1_the_deltas_of_a_stream_equal_the_whole_reply(text, limit, base):
    answer = answer_to(text, base, max_tokens=limit)
    whole = json.loads(script_whole(HEAD, [answer], HEALTHY).body)
    events = stream_events(answer)
    deltas = [choice["delta"] for chunk in json_chunks(events) for choice in chunk["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    for name in ("reasoning", "reasoning_content"):
        assert "".join(delta.get(name, "") for delta in deltas) == message.get(name, "")
    assert whole["usage"]["completion_tokens"] == len(events) - 3 <= limit


def test_an_answer_contains_the_model_and_the_question():
    text = "".join(answer_to("Why is the sky blue?", "gpt-x").content)
    assert "gpt-x" in text
    assert "Why is the sky blue?" in text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hello there friend", "en"),
        ("What is this?", "en"),
        ("как дела?", "ru"),
        ("Türkiye'nin başkenti neresi", "tr"),
        ("merhaba", "tr"),
    ],
)
def test_the_answer_has_the_language_of_the_question(text, language):
    assert detect(text).name == language


def test_an_answer_is_a_function_of_question_model_and_seed():
    assert answer_to() == answer_to()
    assert answer_to() != answer_to(seed=2)
    assert answer_to() != answer_to(base="n")


def test_the_prompt_and_the_limit_set_the_length():
    assert (answer_to().tokens, answer_to().finish_reason) == (DEFAULT_TOKENS, "stop")
    assert (answer_to("Go on [[tokens=300]]").tokens, answer_to("[[tokens=3]]").tokens) == (300, 3)
    cut = answer_to("Go on [[tokens=300]]", max_completion_tokens=50)
    assert (cut.tokens, cut.finish_reason) == (50, "length")


@pytest.mark.parametrize("question", ["Why?", "Почему?", "Neden böyle?"])
@pytest.mark.parametrize("seed", range(4))
def test_an_answer_of_any_length_has_whole_sentences(question, seed):
    opening = (
        tokens.count("".join(answer_to(f"{question} [[tokens=30]]", seed=seed).content).partition("m.")[0])
        + 2
    )
    for length in range(opening, 160):
        answer = answer_to(f"{question} [[tokens={length}]]", seed=seed)
        text = "".join(answer.content)
        assert (answer.tokens, tokens.count(text), tokens.split(text)) == (
            length,
            length,
            list(answer.content),
        )
        assert text.endswith(".")
        assert ".." not in text
        assert all(sentence[0].isupper() for sentence in text.split(". "))
        assert all(sentence.split()[-1].strip(".?“”«»").isalpha() for sentence in text.split(". "))


def test_a_required_tool_is_called_with_valid_arguments():
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = answer_to(tools=[TOOL], tool_choice=choice)
        (tool,) = answer.calls
        assert (tool.name, answer.finish_reason) == ("weather", "tool_calls")
        assert json.loads("".join(tool.arguments))["days"] == [1]
        calls = [
            d["delta"]["tool_calls"][0]
            for c in json_chunks(stream_events(answer))
            for d in c["choices"]
            if d["delta"]
        ]
        assert "".join(call["function"]["arguments"] for call in calls) == "".join(tool.arguments)
    assert answer_to(tools=[TOOL], tool_choice="auto").calls == ()


def test_the_stream_of_parallel_calls_announces_each_once():
    other = {"type": "function", "function": {"name": "water", "parameters": SCHEMA}}
    answer = answer_to("weather and water", tools=[TOOL, other], tool_choice="auto")
    events = stream_events(answer)
    assert len(events) - 3 == answer.tokens
    calls = [
        call
        for chunk in json_chunks(events)
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    assert [(call["index"], call["function"]["name"]) for call in calls if "id" in call] == [
        (0, "weather"),
        (1, "water"),
    ]
    for index, tool in enumerate(answer.calls):
        pieces = [call["function"]["arguments"] for call in calls if call["index"] == index]
        assert "".join(pieces) == "".join(tool.arguments)


def test_choices_are_streamed_in_turn_and_each_ends():
    answers = [answer_to(seed=seed, max_tokens=limit) for seed, limit in ((1, 4), (2, 9), (3, 90))]
    chunks = json_chunks(stream_events(*answers, include_usage=True))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["index"] for choice in choices[:9]] == [0, 1, 2] * 3
    for index, answer in enumerate(answers):
        own = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "".join(answer.content)
        assert [choice["finish_reason"] for choice in own if choice["finish_reason"]] == [
            answer.finish_reason
        ]
    assert chunks[-1]["usage"]["completion_tokens"] == 4 + 9 + 40


@pytest.mark.parametrize("top", [0, 3, 20])
def test_logprobs_are_the_same_whole_and_streamed(top):
    answer = answer_to(logprobs=True, top_logprobs=top)
    (choice,) = json.loads(script_whole(HEAD, [answer], HEALTHY).body)["choices"]
    streamed = [c["choices"][0]["logprobs"] for c in json_chunks(stream_events(answer))]
    whole = choice["logprobs"]["content"]
    assert [token for each in streamed if each for token in each["content"]] == whole
    assert "".join(token["token"] for token in whole) == choice["message"]["content"]
    assert all(bytes(token["bytes"]).decode() == token["token"] for token in whole)
    for token in whole:
        ranked = [each["logprob"] for each in token["top_logprobs"]]
        assert len(ranked) == len({each["token"] for each in token["top_logprobs"]}) == top
        assert ranked == sorted(ranked, reverse=True)
        assert token["logprob"] <= 0


def test_top_logprobs_without_logprobs_is_an_error():
    with pytest.raises(ApiError, match="top_logprobs"):
        answer_to(top_logprobs=2)


@pytest.mark.parametrize("stop", ["You", "simulated", ["nowhere", "tex", "simulated"], ["", "filled"], None])
def test_a_stop_sequence_ends_the_answer_before_it(stop):
    whole, cut = answer_to(), answer_to(stop=stop)
    text = "".join(whole.content)
    stops = [stop] if isinstance(stop, str) else stop or []
    ends = [text.find(each) for each in stops if each and each in text]
    assert "".join(cut.content) == (text[: min(ends)] if ends else text)
    assert cut.finish_reason == "stop"


def test_json_mode_answers_with_an_object():
    assert json.loads("".join(answer_to(response_format={"type": "json_object"}).content))["model"] == "m"
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    assert set(json.loads("".join(answer_to(response_format=schema).content))) == {"city", "days"}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Return JSON with 'setup' and `punchline` keys.", {"setup", "punchline"}),
        (f"{{ and {{}} are no schemas. JSON schema:\n{json.dumps(SCHEMA)}\nMatch it.", {"city", "days"}),
        ("Anything as JSON", {"answer", "model"}),
    ],
)
def test_json_mode_follows_what_the_messages_say(text, keys):
    content = answer_to(text, response_format={"type": "json_object"}).content
    assert set(json.loads("".join(content))) == keys


def test_json_mode_follows_a_schema_in_an_earlier_message():
    messages = [
        {"role": "system", "content": f"Answer as {json.dumps(SCHEMA)}"},
        {"role": "user", "content": "Go"},
    ]
    content = answer_to(messages=messages, response_format={"type": "json_object"}).content
    assert set(json.loads("".join(content))) == {"city", "days"}


def test_images_are_mentioned_and_counted():
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    answer = answer_to([{"type": "text", "text": "What is it?"}, image])
    assert "1 image" in "".join(answer.content)


def test_requested_usage_is_in_the_last_chunk():
    listed = json_chunks(stream_events(answer_to(), include_usage=True))
    assert listed[-1]["choices"] == []
    assert listed[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 40, "total_tokens": 43}
    assert all(chunk["usage"] is None for chunk in listed[:-1])


def test_usage_reports_the_tokens_of_reasoning():
    answer = answer_to(base="m-reasoning")
    usage = json_chunks(stream_events(answer, include_usage=True))[-1]["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": len(answer.reasoning)}
    assert usage["completion_tokens"] == len(answer.reasoning) + len(answer.content)


@pytest.mark.parametrize("text", ["cut=2", "stall=2", "malformed=2", "error-event=2"])
def test_a_stream_breaks_after_the_configured_tokens(text):
    script = script_stream(HEAD, [answer_to()], parse_behaviour(text), include_usage=False)
    assert len(list(script.tokens)) == 2


def test_the_fingerprint_ignores_the_layout_of_the_json():
    one = json.loads('[{"role": "user", "content": "a"}]')
    other = json.loads('[{"content":"a","role":"user"}]')
    assert fingerprint(one) == fingerprint(other)
