"""K1: every message is what its example, its JSON Schema and the AsyncAPI document say."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import msgspec
import pytest

from penstock.contract.codec import encode
from penstock.contract.generate import asyncapi, json_schema, main
from tests.contract.messages import BY_TAG, DECODERS, EXAMPLES, at, decode, places

ROOT = Path(__file__).parents[2]
ASYNCAPI = msgspec.json.decode((ROOT / "schemas/asyncapi.json").read_bytes())


def test_every_message_has_an_example_and_a_decoder_and_no_example_is_left_over():
    assert set(EXAMPLES) == set(BY_TAG)
    assert set(DECODERS) == set(BY_TAG.values())


@pytest.mark.parametrize("name", BY_TAG)
def test_an_example_shows_every_field_and_no_other(name: str):
    message = decode(name, EXAMPLES[name])
    assert type(message) is BY_TAG[name]
    assert msgspec.json.decode(encode(message)) == EXAMPLES[name]


@pytest.mark.parametrize("name", BY_TAG)
def test_a_message_survives_the_wire(name: str):
    message = decode(name, EXAMPLES[name])
    again = DECODERS[BY_TAG[name]].decode(encode(message))
    assert encode(again) == encode(message)


@pytest.mark.parametrize("name", BY_TAG)
def test_an_example_obeys_its_published_json_schema(name: str):
    published = msgspec.json.decode((ROOT / "schemas" / f"{name}.json").read_bytes())
    assert published == msgspec.json.decode(msgspec.json.encode(json_schema(BY_TAG[name])))
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.Draft202012Validator(published).validate(EXAMPLES[name])


@pytest.mark.parametrize("name", BY_TAG)
def test_the_asyncapi_document_carries_the_message_its_schema_and_its_example(name: str):
    message = ASYNCAPI["components"]["messages"][name]
    assert message["examples"] == [{"payload": EXAMPLES[name]}]
    schema = {"$ref": message["payload"]["$ref"], "components": ASYNCAPI["components"]}
    jsonschema.Draft202012Validator(schema).validate(EXAMPLES[name])
    reference = {"$ref": f"#/components/messages/{name}"}
    assert any(channel["messages"].get(name) == reference for channel in ASYNCAPI["channels"].values())


def test_generated_files_are_current():
    assert main(["--check"]) == 0
    assert msgspec.json.decode(msgspec.json.encode(asyncapi())) == ASYNCAPI


@pytest.mark.parametrize("name", BY_TAG)
def test_a_field_of_a_later_version_is_tolerated_wherever_it_stands(name: str):
    plain = encode(decode(name, EXAMPLES[name]))
    for path in places(EXAMPLES[name]):
        spoiled = copy.deepcopy(EXAMPLES[name])
        if isinstance(at(spoiled, path), dict):
            at(spoiled, path)["of_a_later_version"] = {"deep": [1]}
            assert encode(decode(name, spoiled)) == plain


@pytest.mark.parametrize("name", BY_TAG)
def test_a_value_of_the_wrong_type_is_refused_wherever_it_stands(name: str):
    for path in places(EXAMPLES[name])[1:]:
        spoiled = copy.deepcopy(EXAMPLES[name])
        at(spoiled, path[:-1])[path[-1]] = _of_another_type(at(spoiled, path))
        with pytest.raises(msgspec.ValidationError):
            decode(name, spoiled)


def _of_another_type(value: object) -> object:
    if value is None:  # text or a number may stand here, an object nowhere
        return {"an": "object"}
    return 7 if isinstance(value, str) else str(value)


@pytest.mark.parametrize("name", BY_TAG)
def test_a_required_field_is_required_and_any_other_has_a_default(name: str):
    required = set(json_schema(BY_TAG[name])["$defs"][BY_TAG[name].__name__].get("required", ())) - {"type"}
    for field in EXAMPLES[name].keys() - {"type"}:
        spoiled = {key: value for key, value in EXAMPLES[name].items() if key != field}
        if field in required:
            with pytest.raises(msgspec.ValidationError, match=field):
                decode(name, spoiled)
        else:
            decode(name, spoiled)


def test_whole_numbers_may_be_as_large_as_time_needs_and_text_is_not_a_number():
    request = {**EXAMPLES["chat_request"], "deadline_ms": 2**62}
    assert decode("chat_request", request).deadline_ms == 2**62
    with pytest.raises(msgspec.ValidationError):
        decode("chat_request", {**request, "deadline_ms": "3"})
    with pytest.raises(msgspec.ValidationError):
        decode("delta", {**EXAMPLES["delta"], "seq": 1.5})
