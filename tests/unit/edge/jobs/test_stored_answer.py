"""E4: the reply events of a job that has ended, from what is stored of it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import Completed, Delta, Failed, Failure, Started
from services.edge.jobs.stored_answer import deltas_of, events_of
from tests.harness.requests.reply_events import ID, completed

TOOL_CALL = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}}
REASONING = {"index": 0, "delta": {"reasoning_content": "Hm."}}


def job(**fields: Any) -> Job:
    usual: dict[str, Any] = {"state": "completed", "at_ms": 2, "submitted_ms": 1, "end_seq": 7}
    return Job(id=ID, client="edge", account="demo", role="coding", **{**usual, **fields})


def result(text: str, *choices: object) -> JobResult:
    raw = tuple(Raw(msgspec.json.encode(choice)) for choice in choices)
    return JobResult(completed=completed(2, "m2"), text=text, choices=raw)


def test_e4_a_completed_job_has_its_answer_in_few_pieces():
    started, delta, end = events_of(job(), result("Hello"))
    assert isinstance(started, Started)
    assert isinstance(delta, Delta)
    assert isinstance(end, Completed)
    assert (started.model, started.attempt, delta.text) == ("m2", 2, "Hello")


def test_e4_an_empty_answer_has_no_pieces():
    assert deltas_of(result("")) == []


def test_e4_text_comes_after_reasoning_and_before_tool_calls():
    deltas = deltas_of(result("Hello", TOOL_CALL, REASONING))
    shown = [delta.text or msgspec.json.decode(delta.choices[0]) for delta in deltas]
    assert shown == [REASONING, "Hello", TOOL_CALL]


def test_e4_a_failed_job_has_its_error():
    failure = Failure(code="overloaded", message="too much", retry="later")
    (event,) = events_of(job(state="failed", error=failure), None)
    assert isinstance(event, Failed)
    assert event.error == failure
