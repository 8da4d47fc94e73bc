"""What is known of a request so far, for the response headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from penstock.bus.clock import SYSTEM, Clock
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.reply import (
    NO_RESPONSE,
    Accepted,
    Completed,
    Failed,
    ReplyEvent,
    Started,
)
from services.edge.answers.limit_headers import Unit, limit_headers, unit_of
from services.edge.dialects.dialect import LimitHeaderStyle
from services.edge.http.headers import Header, header_text, request_id_headers

__all__ = ["REPLY_HEADERS", "ReplyFacts"]

_REASON_CHARACTERS: Final = 500
_SHOWN_FINDINGS: Final = 32
"""Kinds of findings in the header `x-penstock-guarded`: clients limit the size of all headers."""
REPLY_HEADERS: Final[Mapping[str, str]] = {
    "x-request-id": "The id of the request.",
    "request-id": "The same.",
    "x-penstock-request-id": "The same.",
    "x-penstock-answer-id": "The id by which the answer can be read again.",
    "x-penstock-trace-id": "The trace of the request.",
    "x-penstock-role": "The role that the request was given.",
    "x-penstock-complexity": "`simple`, `medium` or `complex`.",
    "x-penstock-reason": "Why it was given this role.",
    "x-penstock-attempts": "The number of the attempt that answers, from 1.",
    "x-penstock-queue-wait-ms": "Milliseconds for which the request waited before its first attempt.",
    "x-penstock-cost-microusd": "Cost in millionths of a US dollar; a stream lacks it, and an answer for "
    "which tokens of a model without a price were used.",
    "x-penstock-guarded": "What the safety guard reported, redacted or left out of the context, as in "
    "`personal_data/email;direction=input;action=redact;count=2`, and `unchecked;direction=input` where a check was "
    "not made; a stream lacks it.",
    "x-penstock-citations": "How many passages the model was given; a stream lacks it.",
    "x-penstock-recalled": "How many earlier turns of the user the model was given; a stream lacks it.",
}
"""The headers that a response may have from ReplyFacts, with their meaning. Each is sent once it is known."""


class ReplyFacts:
    """Collects facts from the events of a reply."""

    def __init__(
        self,
        request_id: str,
        answer_id: str | None,
        style: LimitHeaderStyle = "openai",
        clock: Clock = SYSTEM,
    ) -> None:
        """`answer_id`: the id by which the answer can be read; None: it cannot. `style`: of the headers on limits."""
        self.request_id = request_id
        self._style = style
        self._clock = clock
        self._answer_id = answer_id
        self.traceparent: str | None = None
        self.role = ""
        self._accepted: Accepted | None = None
        self._started: Started | None = None
        self._completed: Completed | None = None
        self._limits: dict[Unit, LimitStatus] = {}

    def add(self, event: ReplyEvent) -> None:
        match event:
            case Accepted():
                self._accepted = event
                self.role = event.role
                self._add_limits(event.requests_limit, event.tokens_limit)
            case Failed():
                self._add_limits(event.error.limit)
            case Started():
                self._started = event
            case Completed():
                # The body may be megabytes, and the facts are kept as long as the response is sent.
                self._completed = replace(event, response=NO_RESPONSE)
                self.role = event.role

    def _add_limits(self, *statuses: LimitStatus | None) -> None:
        for status in statuses:
            unit = None if status is None else unit_of(status)
            if status is not None and unit is not None:
                self._limits[unit] = status

    @property
    def model(self) -> str:
        """The model of the latest attempt; empty before the first."""
        return "" if self._started is None else self._started.model

    @property
    def progress(self) -> str:
        """What the request waits for, as a comment in its stream."""
        if self._started is not None:
            return f"waiting for {self._started.model}"
        accepted = self._accepted
        if accepted is None:
            return "queued"
        position, wait_s = accepted.queue_position, accepted.estimated_wait_s
        if position == 0 and wait_s == 0:  # it was to start at once, and waits all the same
            return "queued"
        place = "" if position is None else f" position={position}"
        return f"queued{place}" + ("" if wait_s is None else f" wait_s={wait_s:g}")

    def headers(self) -> tuple[Header, ...]:
        """The headers of the facts that are known now."""
        facts: dict[str, str] = {"request-id": self.request_id}
        if self._answer_id is not None:
            facts["answer-id"] = self._answer_id
        if self.traceparent is not None:
            facts["trace-id"] = self.traceparent.split("-")[1]
        if self._accepted is not None:
            facts["role"] = self._accepted.role
            facts["complexity"] = self._accepted.complexity
            facts["reason"] = self._accepted.why[:_REASON_CHARACTERS]
        if self._started is not None:
            facts["attempts"] = str(self._started.attempt)
        if self._completed is not None:
            facts |= _facts_of(self._completed)
        elif self._accepted is not None and self._started is not None:
            facts["queue-wait-ms"] = str(max(0, self._started.at_ms - self._accepted.at_ms))
        return (
            *request_id_headers(self.request_id),
            *((f"x-penstock-{name}".encode(), header_text(text)) for name, text in facts.items()),
            *limit_headers(self._style, self._limits, self._clock.unix_ms()),
        )


def _facts_of(completed: Completed) -> dict[str, str]:
    facts = {"queue-wait-ms": f"{completed.timings.queued_ms:.0f}"}
    if not completed.unpriced_attempts:
        facts["cost-microusd"] = str(completed.cost_microusd)
    if completed.guarded or completed.unchecked or completed.left_out:
        facts["guarded"] = _guarded_text(completed)
    if completed.citations:
        facts["citations"] = str(len(completed.citations))
    if completed.recalled:
        facts["recalled"] = str(sum(each.turns for each in completed.recalled))
    return facts


def _guarded_text(completed: Completed) -> str:
    """A list of structured field values (RFC 9651)."""
    unchecked = (f"unchecked;direction={direction}" for direction in completed.unchecked)
    found = (
        f"{each.name};direction={each.direction};action={each.action};count={each.count}"
        for each in completed.guarded[:_SHOWN_FINDINGS]
    )
    left_out = Counter((each.kind, name) for each in completed.left_out for name in each.findings)
    kept_out = (
        f"{name};direction=input;action=leave_out;place={kind};count={count}"
        for (kind, name), count in left_out.most_common(_SHOWN_FINDINGS)
    )
    return ", ".join((*unchecked, *found, *kept_out))
