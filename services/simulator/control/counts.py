"""Exact counts of every attempt, against which a gateway's own usage records are verified."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from typing import Final, Literal

import msgspec
from msgspec import Struct

from services.simulator.control.busiest_minute import BusiestMinute, Load

__all__ = ["Attempt", "Counts", "ModelCounts", "Outcome"]

Outcome = Literal["ok", "broken", "cancelled"]
_REQUESTS_KEPT: Final = 200
_LABELS_KEPT: Final = 50_000
"""Labels of attempts, and as many ended attempts with a label."""


class ModelCounts(Struct):
    """`attempts` = `ok` + `broken` + `cancelled` + all `errors` + `in_flight`."""

    attempts: int = 0
    ok: int = 0
    """Complete, valid answers."""
    errors: dict[str, int] = msgspec.field(default_factory=dict)
    """Error answers by HTTP status."""
    streams: int = 0
    broken: int = 0
    """Deliberately broken answers: cut, malformed, unfinished, empty, reset."""
    cancelled: int = 0
    """The client disconnected before the end."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    texts: int = 0
    """Texts in complete, valid answers of the embeddings endpoint, each as often as it was sent."""
    repeated_texts: int = 0
    """Those of `texts` that had been embedded before with the same dimensions."""
    max_inputs: int = 0
    """Texts of the largest embeddings call that was answered."""
    in_flight: int = 0
    max_in_flight: int = 0
    busiest_minute: Load = msgspec.field(default_factory=Load)
    """Maximum load of any 60 s, of calls within the rate limits; tokens are added when a call ends."""


class Attempt(Struct):
    """One model call, open until `Counts.end`."""

    model: str
    request_id: str
    sha256: str
    """Fingerprint of the messages or the input: see requests.fingerprint."""
    at_s: float
    """Arrival, Unix time."""
    counts: ModelCounts
    admitted_s: float | None = None
    """Time of the admission by the rate limits, monotonic; None if not admitted."""
    outcome: Outcome | int = "cancelled"
    """HTTP status of an error, or how the answer ended; "cancelled" until it is set."""
    status: int | None = None
    """The HTTP status sent to the client; None if none was sent."""
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    texts: int = 0
    """Texts of an embeddings request."""
    text_hashes: tuple[int, ...] = ()
    """A hash of each text with its dimensions."""
    label: str = ""
    """The X-Client-Request-Id of the call; empty: it has none."""


class _EndedAttempt(Struct, frozen=True):
    """What one labelled attempt used."""

    label: str
    model: str
    outcome: Outcome | int
    prompt_tokens: int
    completion_tokens: int


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
        self._ended: deque[_EndedAttempt] = deque(maxlen=_LABELS_KEPT)
        self._texts: dict[str, set[int]] = {}

    def reset(self) -> None:
        """Set all counts to zero and stop counting the attempts in flight."""
        self._models = {}
        self._minutes = {}
        self._keys.clear()
        self._requests.clear()
        self._labels.clear()
        self._ended.clear()
        self._texts.clear()

    def record_label(self, attempt: Attempt, label: str) -> None:
        """Record the X-Client-Request-Id of an attempt."""
        attempt.label = label
        self._labels.append(label)

    def labels(self) -> list[str]:
        """The labels of all attempts, oldest first, with repetitions."""
        return list(self._labels)

    def ended(self) -> list[_EndedAttempt]:
        """The labelled attempts that have ended, in the order of their ends."""
        return list(self._ended)

    def record_key(self, key: str) -> None:
        """Record the bearer key of an attempt, valid or not."""
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

    def record_admission(self, attempt: Attempt, now_s: float) -> None:
        """Record that the rate limits admitted the attempt."""
        if self._is_counted(attempt):
            attempt.admitted_s = now_s
            self._minutes[attempt.model].record_admission(now_s)

    def end(self, attempt: Attempt) -> None:
        if not self._is_counted(attempt):
            return
        counts = attempt.counts
        if attempt.admitted_s is not None:
            tokens = attempt.prompt_tokens + attempt.completion_tokens
            self._minutes[attempt.model].record_tokens(tokens, attempt.admitted_s)
        counts.in_flight -= 1
        counts.streams += attempt.stream
        counts.prompt_tokens += attempt.prompt_tokens
        counts.completion_tokens += attempt.completion_tokens
        if attempt.outcome == "ok":
            counts.ok += 1
            counts.texts += attempt.texts
            self._count_repeated_texts(attempt)
        elif attempt.outcome == "broken":
            counts.broken += 1
        elif attempt.outcome == "cancelled":
            counts.cancelled += 1
        else:
            status = str(attempt.outcome)
            counts.errors[status] = counts.errors.get(status, 0) + 1
        if attempt.label:
            used = attempt.prompt_tokens, attempt.completion_tokens
            self._ended.append(_EndedAttempt(attempt.label, attempt.model, attempt.outcome, *used))
        self._requests.append(
            _RequestRecord(attempt.model, attempt.status, attempt.at_s, attempt.request_id, attempt.sha256)
        )

    def _count_repeated_texts(self, attempt: Attempt) -> None:
        counts, known = attempt.counts, self._texts.setdefault(attempt.model, set())
        counts.max_inputs = max(counts.max_inputs, len(attempt.text_hashes))
        before = len(known)
        known.update(attempt.text_hashes)
        counts.repeated_texts += len(attempt.text_hashes) - (len(known) - before)

    def _is_counted(self, attempt: Attempt) -> bool:
        """False for an attempt that began before the last reset."""
        return self._models.get(attempt.model) is attempt.counts

    def report(self) -> dict[str, object]:
        for model, counts in self._models.items():
            counts.busiest_minute = self._minutes[model].maximum()
        return {
            "models": self._models,
            "total_attempts": sum(counts.attempts for counts in self._models.values()),
            "keys": {hashlib.sha256(key.encode()).hexdigest()[:12]: n for key, n in self._keys.items()},
            "requests": list(self._requests),
        }
