"""A router's decision about one request, for tests that do not depend on its content."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from penstock.contract.reply import Accepted
from penstock.contract.work import ChatWork
from services.router.routing.outcome import Routed

__all__ = ["chat_work", "routed"]


def chat_work(**fields: Any) -> ChatWork:
    """An empty interactive request for `chat` whose deadline is past; `fields` replace single values."""
    anything: dict[str, Any] = {
        "id": "i",
        "account": "a",
        "client": "c",
        "role": "chat",
        "lane": "interactive",
        "complexity": "simple",
        "why": "",
        "deadline_ms": 0,
        "accepted_ms": 0,
        "stream": False,
        "body": Raw(b"{}"),
    }
    return ChatWork(**(anything | fields))


def routed(work: ChatWork) -> Routed:
    """The decision, with the `accepted` event that the application receives."""
    accepted = Accepted(
        id=work.id,
        seq=0,
        role=work.role,
        complexity=work.complexity,
        why=work.why,
        lane=work.lane,
        deadline_ms=work.deadline_ms,
        at_ms=work.accepted_ms,
    )
    return Routed(work=work, accepted=accepted)
