"""B5, C3: `penstock explain` asks as whoever would send the request."""

from __future__ import annotations

from schemas import codec
from services.launcher.ask_command import Question
from services.launcher.explain_command import payload
from services.router.explanation import account_of


def test_c3_the_question_says_account_user_lane_and_time() -> None:
    question = Question(prompt="hi", user="ann", lane="batch", timeout_s=5.0)

    data = payload(question, [{"role": "user", "content": "hi"}], "acme")
    request = codec.REQUEST.decode(data)

    assert account_of(data) == "acme"
    assert (request.user, request.lane) == ("ann", "batch")
    assert request.deadline_ms is not None
    assert b'"content":"hi"' in bytes(request.body)
