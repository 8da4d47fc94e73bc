"""A provider that rejects calls and damages streams at random."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import yaml
from msgspec import Struct, field

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import Call, End, Part, chunk, scripted_provider
from tests.harness.requests.replies import ReceivedReply, ask

__all__ = ["MODELS", "FailureRates", "Run", "expected_answer", "random_provider"]

MODELS = ("one", "two", "three")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WORDS = 30
DAMAGE = ("truncated", "cut", "malformed", "stalled")


class FailureRates(Struct, frozen=True, kw_only=True):
    """Shares of the calls that fail."""

    rate_limited: float = 0.1
    server_error: float = 0.1
    damaged: float = 0.31
    """Share of the streams that begin."""
    stall_s: float = 30.0
    """Seconds for which a stalled stream stays open."""


class _RandomOutcomes:
    def __init__(self, rates: FailureRates, seed: int) -> None:
        self._rates = rates
        self._random = Random(seed)
        self.drawn: Counter[str] = Counter()
        """Number of calls by outcome."""

    def answer(self, call: Call) -> Iterator[Part]:
        outcome = self._outcome()
        self.drawn[outcome] += 1
        if outcome == "429":
            return _error("429 Too Many Requests", "Rate limit reached", "Retry-After: 1")
        if outcome == "503":
            return _error("503 Service Unavailable", "The server is overloaded")
        return self._stream(expected_answer(call.body["messages"][-1]["content"]), outcome)

    def _outcome(self) -> str:
        draw = self._random.random()
        if draw < self._rates.rate_limited:
            return "429"
        if draw < self._rates.rate_limited + self._rates.server_error:
            return "503"
        return self._random.choice(DAMAGE) if self._random.random() < self._rates.damaged else "whole"

    def _stream(self, text: str, outcome: str) -> Iterator[Part]:
        yield _HEAD
        words = [f"{word} " for word in text.split()]
        breaks_at = self._random.randrange(len(words)) if outcome != "whole" else len(words)
        for word in words[:breaks_at]:
            yield _piece(chunk(word))
            yield 0.002
        match outcome:
            case "whole":
                yield _piece(chunk(None, "stop")) + _piece(b"data: [DONE]\n\n") + b"0\r\n\r\n"
                yield End.KEEP
            case "truncated":  # the body ends as it should, and the answer does not
                yield b"0\r\n\r\n"
            case "cut":
                yield End.RESET
            case "malformed":
                yield _piece(b'data: {"choices":[{"index":0,"delta":{"content":"half a\n\n') + b"0\r\n\r\n"
            case _:
                yield self._rates.stall_s


def expected_answer(prompt: str) -> str:
    """The one correct answer to a prompt."""
    return " ".join(f"{prompt.replace(' ', '-')}-{number}" for number in range(_WORDS))


def _piece(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def _error(status: str, message: str, *headers: str) -> Iterator[Part]:
    body = json.dumps({"error": {"message": message}}).encode()
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    yield "\r\n".join((*lines, "", "")).encode() + body
    yield End.KEEP


class Run(Struct):
    """The replies to a number of requests, and the outcomes of the calls."""

    received: list[ReceivedReply] = field(default_factory=list)
    drawn: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0

    @property
    def codes(self) -> Counter[str | None]:
        return Counter(each.code for each in self.received)

    @property
    def completed(self) -> list[ReceivedReply]:
        return [each for each in self.received if each.code is None]

    @property
    def wrong(self) -> list[str]:
        """Texts of completed replies that are not the correct answer."""
        right = {expected_answer(_prompt(number)) for number in range(len(self.received))}
        return [each.text for each in self.completed if each.text.strip() not in right]

    def summary(self) -> str:
        calls = sum(self.drawn.values())
        slowest = max(each.took_s for each in self.received)
        return (
            f"{len(self.completed)} of {len(self.received)} completed, {dict(self.codes)}; {calls} calls "
            f"{dict(self.drawn)}; slowest {slowest:.1f} s, all {self.took_s:.1f} s"
        )


def _prompt(number: int) -> str:
    return f"request {number}"


@contextmanager
def random_provider(
    directory: Path, rates: FailureRates, *, role: dict[str, Any], seed: int
) -> Iterator[tuple[System, Any]]:
    """A system whose role `chat` has three models at such a provider, and a function that sends it requests."""
    with scripted_provider(*MODELS) as provider:
        outcomes = _RandomOutcomes(rates, seed)
        provider.answer = outcomes.answer
        config = yaml.safe_load(catalogue({"chat": MODELS}, roles={"chat": role}))
        config["providers"]["simulator"]["base_url"] = provider.url
        with shared_system(directory, "chat", config=yaml.safe_dump(config)) as system:

            async def run(client: Client, requests: int, over_s: float, timeout_s: float) -> Run:
                """Send so many requests, spread evenly over `over_s`, each with a deadline."""
                began_s = time.monotonic()

                async def one(number: int) -> ReceivedReply:
                    await asyncio.sleep(over_s * number / requests)
                    return await ask(client, _prompt(number), role="chat", timeout_s=timeout_s)

                received = await asyncio.gather(*(one(number) for number in range(requests)))
                return Run(list(received), outcomes.drawn, time.monotonic() - began_s)

            yield system, run
