"""The record of a running job of the account `shop`."""

from __future__ import annotations

from penstock.contract.jobs import Job
from services.edge.requests.answer_id import AnswerId

__all__ = ["running_job"]


def running_job(answer_id: AnswerId, user: str) -> Job:
    """The record of the job whose answer has this id."""
    return Job(
        id=answer_id.request_id,
        client=answer_id.client,
        account="shop",
        user=user,
        role="chat",
        state="running",
        at_ms=2,
        submitted_ms=1,
    )
