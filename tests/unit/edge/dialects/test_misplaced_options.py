"""K1: an option of Penstock in a body, where nothing reads it, is refused by an error that says where it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.messages_request import read_counted
from services.edge.dialects.responses import ResponsesDialect
from services.edge.embeddings.request import read_embeddings
from services.edge.moderation.request import read_inputs
from services.edge.requests.options import RequestOptions

MESSAGES: Final = [{"role": "user", "content": "hi"}]
READERS: Final[dict[str, tuple[Callable[[bytes], object], dict[str, Any]]]] = {
    "chat": (ChatDialect().read, {"model": "m", "messages": MESSAGES}),
    "messages": (MessagesDialect().read, {"model": "m", "messages": MESSAGES, "max_tokens": 5}),
    "count tokens": (read_counted, {"model": "m", "messages": MESSAGES}),
    "responses": (ResponsesDialect().read, {"model": "m", "input": "hi"}),
    "embeddings": (read_embeddings, {"model": "m", "input": "hi"}),
    "moderations": (read_inputs, {"input": "hi"}),
}
OPTIONS: Final = {
    "timeout_s": "send the header x-penstock-timeout-s",
    "deadline_ms": "send the header x-penstock-timeout-s",
    "lane": "send the header x-penstock-lane",
    "rescue": "send the header x-penstock-rescue",
    "degrade": "send the header x-penstock-degrade",
    "on_disconnect": "send the header x-penstock-on-disconnect",
    "role": "write the role as model",
    "complexity": "coding:complex",
    "x-penstock-timeout-s": "send it as a header",
    "X_Penstock_Lane": "send it as a header",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("name", "place"), OPTIONS.items())
def test_k1_an_option_in_the_body_is_refused_and_its_place_is_named(reader: str, name: str, place: str):
    read, body = READERS[reader]
    read(json.dumps(body).encode())

    with pytest.raises(InvalidField) as refused:
        read(json.dumps({**body, name: 20}).encode())

    assert refused.value.field == name
    assert place in refused.value.message
    assert refused.value.message.startswith(f"{name} is not read from the body")


@pytest.mark.parametrize("reader", ["messages", "count tokens", "embeddings", "moderations"])
@pytest.mark.parametrize("name", ["rag", "conversation"])
def test_k1_retrieval_is_asked_for_by_header_where_the_body_cannot_say_it(reader: str, name: str):
    read, body = READERS[reader]
    with pytest.raises(InvalidField, match=f"send the header x-penstock-{name}"):
        read(json.dumps({**body, name: "docs"}).encode())


def test_k1_every_option_that_is_a_header_is_refused_in_a_body_that_has_no_such_field():
    read, body = READERS["messages"]
    for name in RequestOptions.__struct_fields__:
        if name == "user":  # not a field of a message, but of OpenAI's bodies
            continue
        with pytest.raises(InvalidField, match=f"x-penstock-{name.replace('_', '-')}"):
            read(json.dumps({**body, name: "x"}).encode())


def test_e1_options_inside_other_fields_pass():
    body = {"model": "m", "messages": MESSAGES, "metadata": {"timeout_s": 1, "role": "x"}}
    assert json.loads(bytes(ChatDialect().read(json.dumps(body).encode()).body)) == body
