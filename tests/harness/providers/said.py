"""What a scripted provider answers: one text, whole or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.harness.providers.scripted_provider import (
    DONE,
    Call,
    Part,
    ScriptedProvider,
    chunk,
    head,
    whole,
)

__all__ = ["answer_with", "script"]


def script(provider: ScriptedProvider, said: str, *, each: int = 3) -> None:
    """Answer with `said`, `each` characters a chunk, and forget the calls so far."""
    answer_with(provider, lambda _: said, each=each)


def answer_with(provider: ScriptedProvider, said_to: Callable[[Call], str], *, each: int = 3) -> None:
    def answer(call: Call) -> Iterable[Part]:
        said = said_to(call)
        if not call.body.get("stream"):
            body = whole(said)
            return (head("200 OK", "application/json", f"Content-Length: {len(body)}"), body)
        chunks = [chunk(said[at : at + each]) for at in range(0, len(said), each)]
        return (head(), *chunks, chunk(None, "stop"), DONE)

    provider.calls.clear()
    provider.answer = answer
