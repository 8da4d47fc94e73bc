"""E2: the id of an answer tells any edge process where its reply is and how the stream was made."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from penstock.bus.ids import new_id
from penstock.contract.subjects import is_token
from services.edge.requests.answer_id import AnswerId, StreamRescue, new_client_name, parse_answer_id

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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "chatcmpl-",
        f"chatcmpl-2edge-{ID}x",
        f"chatcmpl-cedge-{ID}",
        f"chatcmpl-2-{ID}",
        f"chatcmpl-2ed.ge-{ID}",
        f"chatcmpl-2*-{ID}",
        f"chatcmpl-2edge-{ID.upper()}",
        f"resp_2edge-{ID}",
        f"chatcmpl-2{'e' * 65}-{ID}",
        "chatcmpl-2edge->",
    ],
)
def test_e2_another_text_is_no_id(text: str):
    assert parse_answer_id(text, "chatcmpl-") is None
