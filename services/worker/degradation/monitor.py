"""Detects slow and failing models from this worker's calls, and reduces requests to them (D5)."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import Struct

from penstock.contract.names import DegradationRule, Role
from penstock.contract.presence import DegradedModel
from penstock.contract.reply import Degraded
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.degradation import OnErrors, OnHighLatency
from services.worker.degradation.rate_alarm import RateAlarm
from services.worker.degradation.shorten import (
    RequestSize,
    Shortener,
    Shortening,
    cut_limit,
    shape_of,
)
from services.worker.metrics import WorkerMetrics
from services.worker.providers.errors.failures import health_of

__all__ = ["DegradationMonitor", "without_quota"]

_log: Final = logging.getLogger(__name__)
_TIMED_OUT: Final = ("no_first_token", "too_slow", "stalled")
_UNCHANGED: Final = Shortening()


class _Watched(Struct, frozen=True):
    """The alarms of one model in one role."""

    slow: RateAlarm
    failing: RateAlarm


class DegradationMonitor:
    """One alarm per model and rule; roles with the same rule share it. Times are the event loop's."""

    def __init__(self, catalogue: Catalogue, metrics: WorkerMetrics) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._watched: dict[tuple[Role, str], _Watched] = {}
        self._failing: dict[str, list[RateAlarm]] = {}
        """All alarms of a model, because a failure in one role counts in every role."""
        self._active: set[tuple[Role, str, DegradationRule]] = set()
        alarms: dict[tuple[str, OnHighLatency | OnErrors], RateAlarm] = {}
        for role, config in catalogue.all_roles.items():
            rules = catalogue.degradation_of(role)
            for model in config.chain:
                slow, failing = (
                    alarms.setdefault((model, rule), RateAlarm(rule))
                    for rule in (rules.on_high_latency, rules.on_errors)
                )
                self._watched[role, model] = _Watched(slow, failing)
        for (model, rule), alarm in alarms.items():
            if isinstance(rule, OnErrors):
                self._failing.setdefault(model, []).append(alarm)

    def observe(self, role: Role, record: AttemptRecord, now_s: float) -> None:
        """Record a finished attempt; a 429 and a cancelled attempt are ignored."""
        latency = self._catalogue.degradation_of(role).on_high_latency
        slow = _was_slow(record, latency)
        if slow is not None:
            self._watched[role, record.model].slow.observe(bad=slow, now_s=now_s)
        health = health_of(record.outcome)
        if health != "neutral":
            for alarm in self._failing[record.model]:
                alarm.observe(bad=health == "failure", now_s=now_s)

    def shortener(self, size: RequestSize, model: str, now_s: float) -> Shortener | None:
        """None: the body is sent as it is."""
        shortening = self._shortening(size.work, model, now_s)
        return None if shortening is _UNCHANGED else Shortener(shortening)

    def expected_tokens(self, size: RequestSize, model: str, now_s: float) -> tuple[int, int]:
        """Input tokens, before calibration, and output tokens of the body as it would be sent now."""
        shortening = self._shortening(size.work, model, now_s)
        if shortening is _UNCHANGED:
            return size.input_tokens, size.output_tokens
        if size.shape is None:
            messages = self._catalogue.degradation_of(size.work.role).on_errors.keep_messages
            size.shape = shape_of(size.work.body, messages)
        # An image has more bytes than tokens, so the share of bytes says nothing about the share of tokens.
        trimmed = shortening.messages is not None and not size.work.vision
        tokens = round(size.input_tokens * size.shape.kept_share) if trimmed else size.input_tokens
        output_tokens = (
            cut_limit(size.output_tokens, shortening) if size.shape.may_cut else size.output_tokens
        )
        return tokens, output_tokens

    def report(self, now_s: float) -> tuple[DegradedModel, ...]:
        """The active rules, of an implicit role with those of the role from which it has them. Sets their gauges, and
        logs those that started or ended since the last call.
        """
        for (role, model), watched in self._watched.items():
            if role not in self._catalogue.roles:
                continue
            rules = self._catalogue.degradation_of(role)
            slow = rules.on_high_latency.enabled and watched.slow.on(now_s)
            failing = rules.on_errors.enabled and watched.failing.on(now_s)
            self._set_active(role, model, "high_latency", active=slow)
            self._set_active(role, model, "errors", active=failing)
        return tuple(
            DegradedModel(role=role, model=model, rule=rule) for role, model, rule in sorted(self._active)
        )

    def _set_active(self, role: Role, model: str, rule: DegradationRule, *, active: bool) -> None:
        if active == ((role, model, rule) in self._active):
            return
        self._active ^= {(role, model, rule)}
        self._metrics.degrading.labels(role, model, rule).set(active)
        change = "degrades requests" if active else "is over"
        _log.warning("%s of %s in the role %s %s", rule, model, role, change)

    def _shortening(self, work: ChatWork, model: str, now_s: float) -> Shortening:
        watched = self._watched[work.role, model]
        if not work.degrade or (watched.slow.on_since_s is None and watched.failing.on_since_s is None):
            return _UNCHANGED
        rules = self._catalogue.degradation_of(work.role)
        latency, errors = rules.on_high_latency, rules.on_errors
        cut = latency.reduce_by if latency.enabled and watched.slow.on(now_s) else 0.0
        messages = errors.keep_messages if errors.enabled and watched.failing.on(now_s) else None
        if cut == 0 and messages is None:
            return _UNCHANGED
        role = self._catalogue.all_roles[work.role]
        limits = (role.parameters.max_tokens, role.ceilings.max_tokens)
        return Shortening(
            cut=cut,
            floor_tokens=latency.floor_tokens,
            default_tokens=min((each for each in limits if each is not None), default=0),
            cut_why=_why(watched.slow, model, "were slow", latency.window_s, now_s) if cut else "",
            messages=messages,
            trim_why=_why(watched.failing, model, "failed", errors.window_s, now_s) if messages else "",
        )


def without_quota(models: tuple[str, ...]) -> tuple[Degraded, ...]:
    """The degradation of a request for which `models` were skipped because no quota of them is left."""
    if not models:
        return ()
    return (Degraded(rule="rate_limit", what="model", why=f"no quota is left of {', '.join(models)}"),)


def _was_slow(record: AttemptRecord, rule: OnHighLatency) -> bool | None:
    """None for a failure that is unrelated to latency."""
    if record.outcome in _TIMED_OUT:
        return True
    if record.outcome != "completed":
        return None
    first_ms = record.first_token_ms
    late = first_ms is not None and first_ms > rule.slow_first_token_s * 1000
    return late or record.duration_ms > rule.slow_s * 1000


def _why(alarm: RateAlarm, model: str, how: str, window_s: float, now_s: float) -> str:
    bad, total = alarm.seen(now_s)
    return f"{bad} of {total} calls of {model} {how} in the last {window_s:g} s"
