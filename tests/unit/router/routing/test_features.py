"""The features of a body, and the rejection of an invalid one (D10)."""

from __future__ import annotations

import json
import time

import msgspec
import pytest

from penstock.contract.names import ROLES
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.routing import Routing
from services.router.routing.body_errors import InvalidBody
from services.router.routing.complexity import assess
from services.router.routing.features import extract_features
from services.router.routing.role import resolve

CATALOGUE = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})


def body(*messages: object, **fields: object) -> bytes:
    return json.dumps({"messages": messages or [{"role": "user", "content": "hi"}], **fields}).encode()


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_a_plain_body() -> None:
    features = extract_features(
        body(
            {"role": "system", "content": "Be kind."},
            user("first"),
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "42", "tool_call_id": "1"},
            user("last"),
            model="gpt-4o-mini",
            stream=True,
            max_tokens=100,
            n=2,
            tools=[{"type": "function"}],
            temperature=0.3,
            a_field_of_tomorrow={"deep": [1]},
        )
    )
    assert (features.text, features.text_characters) == ("last", 4)
    assert (features.stream, features.images) == (True, 0)


def test_absent_and_null_fields_are_equal() -> None:
    absent = extract_features(body())
    assert not absent.stream
    assert extract_features(body(stream=None, max_tokens=None, n=None, model=None, tools=None)) == absent


def test_f1_the_higher_of_two_output_limits_counts():
    assert extract_features(body(max_tokens=5_000, max_completion_tokens=100)).max_tokens == 5_000
    assert extract_features(body(max_tokens=100, max_completion_tokens=5_000)).max_tokens == 5_000


def test_parts_are_joined_and_an_image_costs_the_same_however_large() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    features = extract_features(
        body(user([{"type": "text", "text": "What"}, image, {"type": "text", "text": "is it?"}]))
    )
    assert features.text == "What\nis it?"
    assert features.images == 1
    assert features.estimated_tokens == pytest.approx(1_010, abs=5)
    assert extract_features(body(user([{"type": "input_image", "file_id": "f"}]))).images == 1


def test_a_part_that_is_neither_text_nor_image_counts_as_an_attachment() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "wav"}}
    features = extract_features(body(user([{"type": "text", "text": "What is this?"}, sound])))
    assert features.images == 0
    assert features.estimated_tokens == pytest.approx(1_010, abs=5)


def test_the_json_around_the_text_is_not_counted_as_text() -> None:
    assert 7 <= extract_features(body(user("Hi"), temperature=0.2, user="u" * 1000)).estimated_tokens <= 9


def test_escapes_cost_what_their_characters_cost() -> None:
    russian = {"messages": [user("Жизнь прекрасна и удивительна. " * 20)]}
    escaped, plain = json.dumps(russian).encode(), json.dumps(russian, ensure_ascii=False).encode()
    assert extract_features(escaped).estimated_tokens == extract_features(plain).estimated_tokens


def test_tools_calls_and_schemas_are_counted() -> None:
    def estimate(*messages: object, **fields: object) -> int:
        return extract_features(body(*(messages or [user("Hi")]), **fields)).estimated_tokens

    tools = [{"type": "function", "function": {"name": "f", "description": "word " * 100, "parameters": {}}}]
    assert estimate() + 100 <= estimate(tools=tools) <= estimate() + 180
    assert estimate(functions=tools) == estimate(tools=tools)
    assert estimate(response_format={"type": "json_object"}) > estimate()
    silent = {"role": "assistant", "content": None}
    assert estimate({**silent, "tool_calls": tools}) >= estimate(silent) + 100


def test_both_ends_of_a_long_text_are_classified_and_all_of_it_is_counted() -> None:
    features = extract_features(body(user("Solve the equation. " + "la " * 1_000_000 + "Thanks. E")))
    assert features.text.startswith("Solve the equation.")
    assert features.text.endswith("Thanks. E")
    assert len(features.text) < 33_000
    assert features.text_characters == 3_000_029


def test_raw_and_bytes_give_the_same_features() -> None:
    assert extract_features(msgspec.Raw(body())) == extract_features(body())


@pytest.mark.parametrize(
    ("sent", "field", "problem"),
    [
        (b"[]", "body", "the body must be an object, not a list"),
        (b'"hi"', "body", "the body must be an object, not text"),
        (b"{", "body", "the body is not JSON: "),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "body", "the body is not UTF-8 text"),
        (b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "body", "the body is nested too deeply"),
        (
            b'{"x":[' + b"{}," * 60_000 + b"0]}",
            "body",
            "the body has more than 100,000 values, which is the limit",
        ),
        (b"{}", "messages", "messages is missing"),
        (b'{"messages":null}', "messages", "messages must be a list of messages, not null"),
        (b'{"messages":{}}', "messages", "messages must be a list of messages, not an object"),
        (b'{"messages":[]}', "messages", "messages is empty: there is nothing to answer"),
        (body(user("a"), 3), "messages[1]", "messages[1] must be an object, not a number"),
        (body({"content": "a"}), "messages[0].role", "messages[0].role is missing"),
        (
            body({"role": "robot"}),
            "messages[0].role",
            "messages[0].role must be one of system, developer, user, assistant, tool, function",
        ),
        (
            body(user("a"), user("b"), user(3)),
            "messages[2].content",
            "messages[2].content must be text or a list of parts, not a number",
        ),
        (body(user(["a"])), "messages[0].content[0]", "messages[0].content[0] must be an object, not text"),
        (
            body(user([{"type": "text", "text": 5}])),
            "messages[0].content[0].text",
            "messages[0].content[0].text must be text, not a number",
        ),
        (body(stream="yes"), "stream", "stream must be true or false, not text"),
        (body(stream=1), "stream", "stream must be true or false, not a number"),
        (body(max_tokens=0), "max_tokens", "max_tokens must be a positive integer, not 0"),
        (body(max_tokens=-5), "max_tokens", "max_tokens must be a positive integer, not -5"),
        (body(max_tokens=1.5), "max_tokens", "max_tokens must be a positive integer, not a number"),
        (body(max_tokens=True), "max_tokens", "max_tokens must be a positive integer, not true or false"),
        (body(n="2"), "n", "n must be a positive integer, not text"),
        (body(n=0), "n", "n must be a positive integer, not 0"),
        (body(model=7), "model", "model must be text, not a number"),
        (body(tools={}), "tools", "tools must be a list, not an object"),
    ],
)
def test_d10_an_invalid_body_is_rejected_in_a_sentence(sent: bytes, field: str, problem: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        extract_features(sent)
    assert caught.value.field == field
    assert str(caught.value).startswith(problem)
    if "JSON" not in problem:
        assert str(caught.value) == problem


HOSTILE = [
    "a" * 32_000,
    "how many " * 3_600,
    "all cats are " * 2_500,
    "select a, " * 3_200,
    "SELECT " * 4_600,
    "1 + " * 8_000,
    "((((" * 8_000,
    "$" * 32_000,
    "older than " * 2_900,
    "butun xx ise " * 2_400,
    "def " * 8_000,
    "x " * 16_000,
    "сколько " * 4_000,
    "{\n" * 16_000,
    "`" * 32_000,
    "write a " * 4_000,
    "все " * 8_000,
    "at a.b.c(" * 3_500,
    "all abc are " * 3_000,
    "how many 1 " * 3_000,
    "add " * 8_000,
    "older than " * 3_000,
    " " * 32 + "for x in y " * 3_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:10].strip() for text in HOSTILE])
def test_a_hostile_text_takes_milliseconds(text: str) -> None:
    sent = body(user(text))
    began_s = time.process_time()
    features = extract_features(sent)
    resolve("auto", features, CATALOGUE, ROLES)
    assess(features, Routing())
    assert time.process_time() - began_s < 0.25


def test_classification_time_is_bounded_for_short_and_large_bodies() -> None:
    """The aim is 60 µs and 20 ms; a tenfold bound keeps a busy machine from failing the test."""
    prompt = body(
        user(("We plan a trip with two kids (5 and 8) who love animals; what is worth seeing? " * 4)[:300])
    )
    began_s = time.process_time()
    for _ in range(100):
        features = extract_features(prompt)
        resolve("auto", features, CATALOGUE, ROLES)
        assess(features, Routing())
    assert (time.process_time() - began_s) / 100 < 0.000_6
    large = body(user("Where is the fault in this story? " * 240_000))
    began_s = time.process_time()
    extract_features(large)
    assert time.process_time() - began_s < 0.2


def test_of_a_long_text_the_first_and_the_last_4096_characters_are_classified() -> None:
    assert extract_features(body(user("a" * 4096 + "b" * 4096))).text == "a" * 4096 + "b" * 4096
    long = extract_features(body(user("a" * 4096 + "x" + "b" * 4096)))
    assert long.text == "a" * 4096 + "\n" + "b" * 4096
    assert long.text_characters == 8193
