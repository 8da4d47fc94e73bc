"""B5, C3: `penstock explain` asks as whoever would send the request."""

from __future__ import annotations

import pytest

from penstock.cli.commands.ask import Question
from penstock.cli.commands.explain import explanation, payload
from penstock.contract import codec
from penstock.contract.explain import RoutingExplained
from penstock.contract.names import Lane
from services.router.explain import account_of


def test_c3_the_question_says_account_user_lane_and_time() -> None:
    question = Question(prompt="hi", user="ann", lane="batch", timeout_s=5.0)

    data = payload(question, [{"role": "user", "content": "hi"}], "acme")
    request = codec.REQUEST.decode(data)

    assert account_of(data) == "acme"
    assert (request.user, request.lane) == ("ann", "batch")
    assert request.deadline_ms is not None
    assert b'"content":"hi"' in bytes(request.body)


@pytest.mark.parametrize(
    ("lane", "words"),
    [("interactive", "as an interactive request"), ("batch", "as a job of the batch lane"), (None, "now")],
)
def test_c3_what_is_let_in_and_waits_is_not_told_to_begin_at_once(lane: Lane | None, words: str) -> None:
    """A router of another version says no lane."""
    told = RoutingExplained(role="chat", complexity="simple", why="", chain=("m",), wait_s=12.0, lane=lane)

    lines = explanation(told).splitlines()

    assert lines[-2:] == ["wait        about 12 s", f"let in      {words}"]
    assert RoutingExplained(role="chat", complexity="simple", why="", chain=()).lane is None


def test_d10_what_no_model_can_serve_is_not_told_to_be_served() -> None:
    told = RoutingExplained(
        role="chat", complexity="simple", why="", chain=(), wait_s=0.0, lane="interactive"
    )

    assert "no model of the chain can serve it" in explanation(told).splitlines()[-1]
