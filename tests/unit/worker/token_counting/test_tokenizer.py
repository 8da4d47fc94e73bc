"""F2: tokens of requests and answers, counted with the vocabulary of the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.token_counting.tokenizer import input_tokens, output_tokens, vocabulary_of


def words(text: str) -> int:
    return len(text.split())


def body(*messages: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"messages": messages, **fields}).encode()


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("o3", "o200k_base"),
        ("some-new-model", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_harmony"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-large", "cl100k_base"),
        ("llama-3.3-70b-versatile", "llama3"),
        ("meta-llama/Llama-3.1-8B", "llama3"),
        ("qwen/qwen3.6-27b", "qwen3"),
        ("Qwen2.5-7B", "qwen3"),
    ],
)
def test_f2_the_name_of_a_model_decides_the_vocabulary(model: str, vocabulary: str) -> None:
    assert vocabulary_of(model) == vocabulary


def test_f2_a_request_is_charged_for_its_text_and_its_messages() -> None:
    asked = body({"role": "user", "content": "how long is it"}, {"role": "assistant", "content": None})
    assert input_tokens(asked, words) == 3 + 2 * 4 + 4


def test_f2_images_and_definitions_are_estimated() -> None:
    parts = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": "x"}}]
    asked = body({"role": "user", "content": parts}, tools=[{"type": "function"}])
    assert input_tokens(asked, words) == 3 + 4 + 3 + 1_000 + round(len('{"type": "function"}') / 4)


def test_f2_a_body_that_cannot_be_read_is_not_counted() -> None:
    for unreadable in (b"[]", b"{", b'{"messages": 3}'):
        with pytest.raises(ValueError, match=r".+"):
            input_tokens(unreadable, words)


def choice(**delta: Any) -> bytes:
    return json.dumps({"index": 0, "delta": delta}).encode()


def test_f2_text_reasoning_and_tool_arguments_are_output() -> None:
    call = {"index": 0, "id": "call 1", "type": "function", "function": {"name": "f", "arguments": "a b"}}
    choices = [
        choice(reasoning="let me ", role="assistant"),
        choice(reasoning="think"),
        choice(tool_calls=[call]),
    ]
    assert output_tokens(b"one two", choices, words) == 2 + 3 + len(["fa", "b"])


def test_f2_reasoning_under_two_names_is_counted_once() -> None:
    assert output_tokens(b"", [choice(reasoning="a b", reasoning_content="a b")], words) == 2


def test_f2_a_token_does_not_end_with_its_chunk() -> None:
    assert output_tokens(b"", [choice(content="one tw"), choice(content="o")], words) == 2


def test_f2_the_message_of_a_whole_answer_is_output() -> None:
    whole = json.dumps({"index": 0, "message": {"role": "assistant", "content": "one two three"}}).encode()
    assert output_tokens(b"", [whole, b"null", b"3"], words) == 3


def test_f2_half_a_character_is_counted_as_a_replacement() -> None:
    def strict(text: str) -> int:
        text.encode()
        return len(text)

    half = body({"role": "user", "content": "\udc3d"})
    assert input_tokens(half, strict) == 3 + 4 + 1
    assert output_tokens(b"\xf0\x9f", [choice(reasoning="\udc3d")], strict) > 0
