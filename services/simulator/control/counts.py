"""The true count of every attempt: what a gateway's own accounts are checked against."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from typing import Final, Literal

import msgspec
from msgspec import Struct

from services.simulator.control.busiest_window import BusiestMinute, Load

__all__ = ["Attempt", "Counts", "ModelCounts", "Outcome"]

Outcome = Literal["ok", "cut", "cancelled"]
_REQUESTS_KEPT: Final = 200
_LABELS_KEPT: Final = 50_000


class ModelCounts(Struct):
    """`attempts` = `ok` + `cut` + `cancelled` + all `errors` + `in_flight`."""

    attempts: int = 0
    ok: int = 0
    """Answered whole and well."""
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    """HTTP status → answers."""
    streams: int = 0
    cut: int = 0
    """Broken by the simulator on purpose: cut, malformed, unfinished, empty, reset."""
    cancelled: int = 0
    """The client left before the end."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    busiest_minute: Load = msgspec.field(default_factory=Load)
    """The most that any 60 s held, of calls the rate limits let through; tokens count when a call is over."""


class Attempt(Struct):
    """One model call, open until `Counts.end`."""

    model: str
    request_id: str
    sha256: str
    """Of the messages or the input: see requests.fingerprint."""
    at_s: float
    """Arrival, Unix time."""
    counts: ModelCounts
    admitted_s: float | None = None
    """Past the rate limits, monotonic; None: it did not come so far."""
    outcome: Outcome | int = "cancelled"
    """An error's HTTP status, or how the answer ended. An attempt that nobody closed was cancelled."""
    status: int | None = None
    """The HTTP status that was sent; None if none was."""
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _RequestRecord(Struct):
    model: str
    status: int | None
    at_s: float
    request_id: str
    sha256: str


class Counts:
    def __init__(self) -> None:
        self._models: dict[str, ModelCounts] = {}
        self._minutes: dict[str, BusiestMinute] = {}
        self._keys: Counter[str] = Counter()
        self._requests: deque[_RequestRecord] = deque(maxlen=_REQUESTS_KEPT)
        self._labels: deque[str] = deque(maxlen=_LABELS_KEPT)

    def reset(self) -> None:
        """Begin at zero; attempts still running are forgotten with the rest."""
        self._models = {}
        self._minutes = {}
        self._keys.clear()
        self._requests.clear()
        self._labels.clear()

    def label(self, label: str) -> None:
        """The attempt that begins now is called so by who makes it."""
        self._labels.append(label)

    def labels(self) -> list[str]:
        """Of all attempts, the oldest first, each as often as it came."""
        return list(self._labels)

    def came_with(self, key: str) -> None:
        """An attempt's bearer key, right or wrong."""
        self._keys[key] += 1

    def begin(self, model: str, request_id: str, sha256: str, at_s: float) -> Attempt:
        counts = self._models.get(model)
        if counts is None:
            counts = self._models[model] = ModelCounts()
            self._minutes[model] = BusiestMinute()
        counts.attempts += 1
        counts.in_flight += 1
        counts.max_in_flight = max(counts.max_in_flight, counts.in_flight)
        return Attempt(model, request_id, sha256, at_s, counts)

    def admitted(self, attempt: Attempt, now_s: float) -> None:
        """The rate limits let it through."""
        if self._is_counted(attempt):
            attempt.admitted_s = now_s
            self._minutes[attempt.model].admitted(now_s)

    def end(self, attempt: Attempt) -> None:
        if not self._is_counted(attempt):
            return
        counts = attempt.counts
        if attempt.admitted_s is not None:
            tokens = attempt.prompt_tokens + attempt.completion_tokens
            self._minutes[attempt.model].used(tokens, attempt.admitted_s)
        counts.in_flight -= 1
        counts.streams += attempt.stream
        counts.prompt_tokens += attempt.prompt_tokens
        counts.completion_tokens += attempt.completion_tokens
        if attempt.outcome == "ok":
            counts.ok += 1
        elif attempt.outcome == "cut":
            counts.cut += 1
        elif attempt.outcome == "cancelled":
            counts.cancelled += 1
        else:
            status = str(attempt.outcome)
            counts.errors[status] = counts.errors.get(status, 0) + 1
        self._requests.append(
            _RequestRecord(attempt.model, attempt.status, attempt.at_s, attempt.request_id, attempt.sha256)
        )

    def _is_counted(self, attempt: Attempt) -> bool:
        """Not, if it began before the last reset."""
        return self._models.get(attempt.model) is attempt.counts

    def report(self) -> dict[str, object]:
        for model, counts in self._models.items():
            counts.busiest_minute = self._minutes[model].so_far()
        return {
            "models": self._models,
            "total_attempts": sum(counts.attempts for counts in self._models.values()),
            "keys": {hashlib.sha256(key.encode()).hexdigest()[:12]: n for key, n in self._keys.items()},
            "requests": list(self._requests),
        }
