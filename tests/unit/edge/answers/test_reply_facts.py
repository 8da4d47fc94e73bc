"""The `x-penstock-*` headers of a response."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract.guard.places import LeftOut
from penstock.contract.reply import GuardedContent, Timings
from penstock.contract.retrieval.search import Citation, RecalledTurns
from services.edge.answers.reply_facts import REPLY_HEADERS, ReplyFacts
from tests.harness.requests.reply_events import accepted, completed, started


def headers(facts: ReplyFacts) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in facts.headers()}


def test_k3_headers_name_what_is_known_so_far():
    facts = ReplyFacts("r1", "chatcmpl-1")
    known = {
        "x-request-id": "r1",
        "request-id": "r1",
        "x-penstock-request-id": "r1",
        "x-penstock-answer-id": "chatcmpl-1",
    }
    assert headers(facts) == known

    facts.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    facts.add(accepted(why="the word “код”"))
    facts.add(started(2))
    assert headers(facts) == {
        **known,
        "x-penstock-trace-id": "0af7651916cd43dd8448eb211c80319c",
        "x-penstock-role": "coding",
        "x-penstock-complexity": "simple",
        "x-penstock-reason": "the word %E2%80%9C%D0%BA%D0%BE%D0%B4%E2%80%9D",
        "x-penstock-attempts": "2",
        "x-penstock-queue-wait-ms": "250",
    }

    guarded = (
        GuardedContent(direction="input", name="personal_data/email", action="redact", count=2),
        GuardedContent(direction="output", name="hate/threatening", action="flag", count=1),
    )
    timings = Timings(queued_ms=251.7)
    facts.add(replace(completed(3), cost_microusd=12, timings=timings, guarded=guarded))
    assert headers(facts)["x-penstock-guarded"] == (
        "personal_data/email;direction=input;action=redact;count=2, "
        "hate/threatening;direction=output;action=flag;count=1"
    )
    left_out = tuple(
        LeftOut(kind=kind, name=name, findings=("prompt_injection",))
        for kind, name in (("passage", "a.md"), ("turn", "trip"), ("passage", "b.md"))
    )
    facts.add(replace(completed(3), timings=timings, left_out=left_out))
    assert headers(facts)["x-penstock-guarded"] == (
        "prompt_injection;direction=input;action=leave_out;place=passage;count=2, "
        "prompt_injection;direction=input;action=leave_out;place=turn;count=1"
    )
    passages = tuple(Citation(number=each, collection="c", document="d", chunk="c") for each in (1, 2))
    end = replace(completed(3), cost_microusd=12, timings=timings, unchecked=("input", "output"))
    recalled = tuple(RecalledTurns(conversation=each, turns=2) for each in ("trip", "work"))
    facts.add(replace(end, citations=passages, recalled=recalled))
    assert headers(facts)["x-penstock-guarded"] == "unchecked;direction=input, unchecked;direction=output"
    assert headers(facts)["x-penstock-cost-microusd"] == "12"
    assert headers(facts)["x-penstock-citations"] == "2"
    assert headers(facts)["x-penstock-recalled"] == "4"
    assert headers(facts)["x-penstock-queue-wait-ms"] == "252"
    assert headers(facts).keys() == set(REPLY_HEADERS)


def test_f4_a_cost_that_is_not_known_has_no_header():
    facts = ReplyFacts("r1", None)
    facts.add(replace(completed(3), cost_microusd=12, unpriced_attempts=1))
    assert "x-penstock-cost-microusd" not in headers(facts)


def test_e2_there_is_no_answer_id_where_an_answer_cannot_be_read_again():
    assert "x-penstock-answer-id" not in headers(ReplyFacts("r1", None))


def test_k3_the_progress_names_what_the_request_waits_for():
    facts = ReplyFacts("r1", None)
    assert facts.progress == "queued"
    facts.add(accepted())
    assert facts.progress == "queued", "an older router"
    facts.add(accepted(queue_position=5))
    assert facts.progress == "queued position=5"
    facts.add(accepted(queue_position=5, estimated_wait_s=18.25))
    assert facts.progress == "queued position=5 wait_s=18.25"
    facts.add(accepted(queue_position=0))
    assert facts.progress == "queued position=0", "the next one"
    facts.add(accepted(queue_position=0, estimated_wait_s=0))
    assert facts.progress == "queued", "it was to start at once, and waits all the same"
    facts.add(started(model="m"))
    assert facts.progress == "waiting for m"
