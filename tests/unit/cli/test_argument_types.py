"""K6: arguments of the command line that are converted, and those that are refused."""

from __future__ import annotations

import argparse

import pytest

from penstock.cli.argument_types import parse_duration_s, parse_request_id
from services.edge.requests.answer_id import AnswerId

ID = "019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a"


@pytest.mark.parametrize("prefix", ["chatcmpl-", "resp_", "msg_"])
def test_k6_the_id_of_an_answer_over_http_names_its_request(prefix: str):
    text = AnswerId(client="edge0123456789", request_id=ID, streamed=True).text(prefix)
    assert parse_request_id(text) == ID


@pytest.mark.parametrize("text", [ID, "chatcmpl-123", "my-own-id"])
def test_k6_any_other_id_stays_as_it_is(text: str):
    assert parse_request_id(text) == text


@pytest.mark.parametrize("text", ["0d", "00s", "-1d", "1", "1w"])
def test_k6_a_duration_that_is_none_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="use 90s, 30m, 12h or 7d"):
        parse_duration_s(text)
