"""B5, C3: the request that `penstock explain` sends to the router."""

from __future__ import annotations

from penstock.cli.commands.explain import explain_request
from penstock.cli.commands.question import Question
from penstock.contract import codec
from services.router.explain import account_of


def test_k2_the_request_has_the_model() -> None:
    data = explain_request(
        Question(prompt="hi", model="gpt-4o"), {"messages": [{"role": "user", "content": "hi"}]}, "acme"
    )
    request = codec.REQUEST.decode(data)
    assert (request.role, request.model) == ("auto", "gpt-4o")


def test_c3_the_request_has_account_user_lane_complexity_and_deadline() -> None:
    question = Question(prompt="hi", user="ann", lane="batch", complexity="simple", timeout_s=5.0)

    data = explain_request(question, {"messages": [{"role": "user", "content": "hi"}]}, "acme")
    request = codec.REQUEST.decode(data)

    assert account_of(data) == "acme"
    assert (request.user, request.lane, request.complexity) == ("ann", "batch", "simple")
    assert (request.timeout_s, request.deadline_ms) == (5.0, None)
    assert b'"content":"hi"' in bytes(request.body)


def test_h2_a_text_to_embed_is_asked_about_as_the_client_sends_it() -> None:
    data = explain_request(Question(prompt="hi", model="small", embed=True), {"input": "hi"}, "acme")
    request = codec.EMBED_REQUEST.decode(data)
    assert (request.model, bytes(request.body)) == ("small", b'{"input":"hi"}')
    assert account_of(data) == "acme"
