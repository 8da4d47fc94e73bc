"""K1: every message matches its example, its JSON Schema and the AsyncAPI document."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import msgspec
import pytest

from penstock import Client, UnknownJob, UnknownReply
from penstock.contract.channels import CHANNELS
from penstock.contract.codec import encode
from penstock.contract.generate import asyncapi, json_schema, main, readme, tag
from penstock.contract.guard.checks import (
    MAX_CHECK_BYTES,
    MAX_CHECK_TEXTS,
    TEXT_OVERHEAD_BYTES,
    CheckedText,
    GuardCheck,
)
from penstock.contract.streams import JOBS, MAX_PAYLOAD_BYTES, REPLIES, RESULTS
from tests.contract.messages import BY_TAG, DECODERS, EXAMPLES, MAPS, at, decode, places

ROOT = Path(__file__).parents[2]
ASYNCAPI = msgspec.json.decode((ROOT / "schemas/asyncapi.json").read_bytes())


def test_k1_every_message_has_an_example_and_a_decoder():
    assert set(EXAMPLES) == set(BY_TAG)
    assert set(DECODERS) == set(BY_TAG.values())


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_an_example_has_exactly_the_fields_of_its_message(name: str):
    message = decode(name, EXAMPLES[name])
    assert type(message) is BY_TAG[name]
    assert msgspec.json.decode(encode(message)) == EXAMPLES[name]


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_a_message_decodes_to_what_was_encoded(name: str):
    message = decode(name, EXAMPLES[name])
    again = DECODERS[BY_TAG[name]].decode(encode(message))
    assert encode(again) == encode(message)


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_an_example_is_valid_by_its_published_schema(name: str):
    published = msgspec.json.decode((ROOT / "schemas" / f"{name}.json").read_bytes())
    assert published == msgspec.json.decode(msgspec.json.encode(json_schema(BY_TAG[name])))
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.Draft202012Validator(published).validate(EXAMPLES[name])


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_the_asyncapi_document_has_message_schema_and_example(name: str):
    message = ASYNCAPI["components"]["messages"][name]
    assert message["examples"] == [{"payload": EXAMPLES[name]}]
    schema = {"$ref": message["payload"]["$ref"], "components": ASYNCAPI["components"]}
    jsonschema.Draft202012Validator(schema).validate(EXAMPLES[name])
    reference = {"$ref": f"#/components/messages/{name}"}
    assert any(channel["messages"].get(name) == reference for channel in ASYNCAPI["channels"].values())


def test_k1_the_readme_lists_every_channel_with_its_limits():
    rows = [line for line in readme().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(CHANNELS)
    for row, channel in zip(rows, CHANNELS, strict=True):
        assert f"`{channel.subject}`" in row
        assert channel.limits in row
        assert all(f"[{tag(message)}]({tag(message)}.json)" in row for message in channel.messages)


def test_k1_the_documents_name_the_time_for_which_answers_are_stored():
    minutes, hours = REPLIES.max_age_s // 60, RESULTS.max_age_s // 3600
    assert JOBS.max_age_s == RESULTS.max_age_s
    for name in ("README.md", "docs/streaming.md"):
        assert f"{minutes} minutes" in (ROOT / name).read_text()
    assert f"{hours} hours" in (ROOT / "docs/jobs.md").read_text()
    assert f"{minutes} minutes" in str(UnknownReply("id", "client"))
    assert f"{hours} hours" in str(UnknownReply("id", "client"))
    assert f"{hours} hours" in str(UnknownJob("id"))
    assert f"for {minutes} minutes" in str(Client.resume.__doc__)
    assert f"for {hours} hours" in str(Client.result.__doc__)


def test_k1_generated_files_are_current():
    assert main(["--check"]) == 0
    assert msgspec.json.decode(msgspec.json.encode(asyncapi())) == ASYNCAPI


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_an_unknown_field_is_ignored_at_every_level(name: str):
    plain = encode(decode(name, EXAMPLES[name]))
    for path in places(EXAMPLES[name]):
        spoiled = copy.deepcopy(EXAMPLES[name])
        if isinstance(at(spoiled, path), dict) and not MAPS.intersection(path[-1:]):
            at(spoiled, path)["of_a_later_version"] = {"deep": [1]}
            assert encode(decode(name, spoiled)) == plain


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_a_value_of_the_wrong_type_is_rejected_at_every_level(name: str):
    for path in places(EXAMPLES[name])[1:]:
        spoiled = copy.deepcopy(EXAMPLES[name])
        at(spoiled, path[:-1])[path[-1]] = _of_another_type(at(spoiled, path))
        with pytest.raises(msgspec.ValidationError):
            decode(name, spoiled)


def _of_another_type(value: object) -> object:
    if value is None:  # text or a number may be valid here, an object never
        return {"an": "object"}
    return 7 if isinstance(value, str) else str(value)


@pytest.mark.parametrize("name", BY_TAG)
def test_k1_a_field_is_required_or_has_a_default(name: str):
    required = set(json_schema(BY_TAG[name])["$defs"][BY_TAG[name].__name__].get("required", ())) - {"type"}
    for field in EXAMPLES[name].keys() - {"type"}:
        spoiled = {key: value for key, value in EXAMPLES[name].items() if key != field}
        if field in required:
            with pytest.raises(msgspec.ValidationError, match=field):
                decode(name, spoiled)
        else:
            decode(name, spoiled)


def test_k1_integers_are_large_enough_and_text_is_not_a_number():
    request = {**EXAMPLES["chat_request"], "deadline_ms": 2**62}
    assert decode("chat_request", request).deadline_ms == 2**62
    with pytest.raises(msgspec.ValidationError):
        decode("chat_request", {**request, "deadline_ms": "3"})
    with pytest.raises(msgspec.ValidationError):
        decode("delta", {**EXAMPLES["delta"], "seq": 1.5})


def test_k1_the_largest_check_fits_into_a_message_however_its_texts_are_escaped():
    most_bytes = MAX_CHECK_BYTES - MAX_CHECK_TEXTS * TEXT_OVERHEAD_BYTES
    texts = [CheckedText(text="\0" * (most_bytes // MAX_CHECK_TEXTS), origin="assistant", start=256)]
    few = (CheckedText(text="\0" * MAX_CHECK_BYTES),)
    for largest in (tuple(texts * MAX_CHECK_TEXTS), few):
        check = GuardCheck(id="r" * 64, account="a" * 64, texts=largest)
        assert len(encode(check)) < MAX_PAYLOAD_BYTES
