"""The subjects under which the server stores requests: queues by lane and by a hash of the account."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from penstock.contract.names import Lane

__all__ = [
    "INTAKE_ALL",
    "INTAKE_BATCH_QUEUES",
    "INTAKE_QUEUES",
    "INTAKE_TRANSFORM",
    "intake",
    "intake_of_batch_queue",
    "intake_of_queue",
    "published_request",
    "sender_of",
]

INTAKE_QUEUES: Final = 32
"""Queues of requests that are no jobs; a fixed number, because it is in the stored subjects."""
INTAKE_BATCH_QUEUES: Final = 4
"""The same for jobs."""
_INTAKE: Final = "llm.intake.{queue}.{batch_queue}"
INTAKE_TRANSFORM: Final = (
    "llm.request.*.>",
    f"llm.intake.{{{{partition({INTAKE_QUEUES},1)}}}}.{{{{partition({INTAKE_BATCH_QUEUES},1)}}}}.{{{{wildcard(1)}}}}.>",
)
"""How the server stores a request: subject as published, and subject in the stream."""
INTAKE_ALL: Final = "llm.intake.>"
_MOST_SUBJECTS: Final = 10_000
"""Cached subjects: one for each account, kind and lane."""


def published_request(stored: str) -> str:
    """The subject on which a request was published, from the one under which it is stored: the queues are taken out.
    Another subject is returned unchanged.
    """
    if not stored.startswith("llm.intake."):
        return stored
    return ".".join(("llm", "request", *stored.split(".")[4:]))


@lru_cache(_MOST_SUBJECTS)
def sender_of(stored: str) -> tuple[str, Lane]:
    """The account and the lane in the subject under which a request is stored, or on which it is published."""
    parts = published_request(stored).split(".")
    return parts[2], "batch" if len(parts) == 5 else "interactive"


def intake(account: str, kind: str) -> str:
    """Matches the stored requests of an account that are no jobs, in whichever queue they are."""
    return f"{_INTAKE.format(queue='*', batch_queue='*')}.{account}.{kind}"


def intake_of_queue(queue: int) -> str:
    """Matches the stored requests in one queue."""
    return f"{_INTAKE.format(queue=queue, batch_queue='*')}.*.*"


def intake_of_batch_queue(queue: int) -> str:
    """Matches the stored jobs in one queue."""
    return f"{_INTAKE.format(queue='*', batch_queue=queue)}.*.*.batch"
