"""G1: a blocked request and a blocked answer in every dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError, Dialect
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.responses import ResponsesDialect
from tests.harness.requests.reply_events import started

FOUND = ["prompt_injection", "personal_data/email"]
BLOCKED = AnswerError("blocked", "Sorry.", 400, tuple(FOUND))
BODIES: list[tuple[Dialect, dict[str, Any]]] = [
    (ChatDialect(), {"messages": [{"role": "user", "content": "Hello"}]}),
    (ResponsesDialect(), {"input": "Hello"}),
    (MessagesDialect(), {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}),
]


def categories(error: dict[str, Any]) -> list[str]:
    """In OpenAI's shape, or in Anthropic's."""
    found: list[str] = error.get("details", error)["categories"]
    return found


@pytest.mark.parametrize("dialect", [dialect for dialect, _ in BODIES])
def test_g1_a_refusal_has_the_categories(dialect: Dialect):
    error = json.loads(dialect.error(AnswerError("blocked", "Sorry.", 400, tuple(FOUND))))["error"]
    assert (error["message"], error["type"], categories(error)) == ("Sorry.", "invalid_request_error", FOUND)
    other = json.loads(dialect.error(AnswerError("invalid_request", "No.", 400)))["error"]
    assert "categories" not in other.get("details", other)


@pytest.mark.parametrize(("dialect", "body"), BODIES)
def test_g1_a_stream_that_is_blocked_ends_in_an_error_with_the_categories(
    dialect: Dialect, body: dict[str, Any]
):
    writer = dialect.stream("id_1", 1, dialect.read(json.dumps({"model": "auto", **body}).encode()))
    writer.accept("m")
    writer.begin(started(1))
    (event,) = writer.fail(BLOCKED)
    data = json.loads(event.data)
    error = data["response"]["error"] if event.event == "response.failed" else data["error"]
    assert (error["message"], categories(error)) == ("Sorry.", FOUND)
    if event.event == "response.failed":
        assert (error["code"], error["type"]) == ("invalid_prompt", "blocked")
