"""E2: the id of an answer tells any edge process where its reply is and how the stream was made."""

from __future__ import annotations

import string
from itertools import product
from typing import Any, get_args

import pytest

from penstock.bus.ids import new_id
from penstock.contract.subjects import is_token
from services.edge.requests.answer_id import AnswerId, new_client_name, parse_answer_id
from services.edge.requests.rescue import StreamRescue

ID = "019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a"


@pytest.mark.parametrize(
    ("streamed", "rescue", "include_usage"),
    list(product([True, False], get_args(StreamRescue), [True, False])),
)
@pytest.mark.parametrize("prefix", ["chatcmpl-", "resp_", "msg_"])
def test_e2_an_id_is_read_back(prefix: str, rescue: StreamRescue, *, streamed: bool, include_usage: bool):
    made = AnswerId(
        client=new_client_name(),
        request_id=new_id(),
        streamed=streamed,
        rescue=rescue,
        include_usage=include_usage,
    )
    assert parse_answer_id(made.text(prefix), prefix) == made


def test_e2_the_client_name_is_a_token_of_subjects_and_differs():
    names = {new_client_name() for _ in range(100)}
    assert len(names) == 100
    assert all(map(is_token, names))


def test_e2_the_time_is_that_of_the_request():
    assert AnswerId(client="e", request_id=ID, streamed=True).created_s == 0x019A9F3E5B7C // 1000


def made(**fields: Any) -> str:
    return AnswerId(**{"client": "edge", "request_id": ID, "streamed": True, **fields}).text("chatcmpl-")


def test_e2_an_id_with_one_changed_digit_of_its_form_or_check_is_no_id():
    """It would be another form of the same answer: streamed or whole, with usage or not."""
    text = made()
    start = len("chatcmpl-")
    for place, digit in product((start, start + 1), string.digits + string.ascii_lowercase):
        changed = f"{text[:place]}{digit}{text[place + 1 :]}"
        assert (parse_answer_id(changed, "chatcmpl-") is None) == (changed != text)


def test_e2_the_id_of_one_dialect_is_none_of_another():
    text = made().replace("chatcmpl-", "resp_")
    assert parse_answer_id(text, "resp_") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "chatcmpl-",
        f"{made()}x",
        made(client="ed.ge"),
        made(client=""),
        made(client="*"),
        made(client="e" * 65),
        made(request_id=ID.upper()),
        made(request_id=">"),
        made().replace("chatcmpl-", "resp_"),
        made().replace("chatcmpl-2", "chatcmpl-z"),
    ],
)
def test_e2_another_text_is_no_id(text: str):
    assert parse_answer_id(text, "chatcmpl-") is None
