"""The metrics of a worker."""

from __future__ import annotations

from functools import lru_cache, partial

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from penstock.bus.clock import Clock
from penstock.bus.tracing import Tracer
from penstock.contract.reply import Completed, Failed
from services.worker.embedding.metrics import EmbeddingMetrics
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.retrieval.metrics import RetrievalMetrics

__all__ = ["WorkerMetrics", "WorkerTelemetry"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket bounds of the GenAI semantic conventions, v1.41."""
_MOST_CHILDREN = 4096
"""Of one metric, kept for the next request with the same values."""
_LIMIT = ("credential", "model", "limit")


class WorkerMetrics:
    """Labels are closed lists: roles, models and credentials of the catalogue, failure kinds, error codes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._add_requests(registry)
        self._add_attempts(registry)
        self._add_models(registry)
        self._add_limits(registry)
        self._add_credentials(registry)
        self.guard = RequestGuardMetrics(registry)
        self.retrieval = RetrievalMetrics(registry)
        self.embedding = EmbeddingMetrics(registry)
        found = lru_cache(_MOST_CHILDREN)  # `labels` converts the values, and takes a lock
        self.requests_of = found(self.requests.labels)
        self.duration_of = found(self.duration.labels)
        self.queue_wait_of = found(self.queue_wait.labels)
        self.attempts_of = found(self.attempts.labels)
        self.tokens_of = found(self.tokens.labels)
        self.cost_of = found(self.cost.labels)
        self.first_token_of = found(self.first_token.labels)

    def count_end(self, role: str, first_choice: str, event: Completed | Failed) -> None:
        """Count the end of a request whose chain begins with the model `first_choice`."""
        self.requests_of(role, event.error.code if isinstance(event, Failed) else "completed").inc()
        self.duration_of(role).observe(event.timings.total_ms / 1000)
        if isinstance(event, Completed) and event.model != first_choice:
            self.fallbacks.labels(role).inc()

    def _add_requests(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        help_ = "Requests ended, by outcome: completed, or an error code."
        self.requests = counter("penstock_requests", help_, ["role", "outcome"])
        help_ = "From acceptance by JetStream to the terminal event."
        self.duration = histogram("penstock_request_duration_seconds", help_, ["role"], buckets=_SECONDS)
        help_ = "From acceptance by JetStream to a worker."
        self.queue_wait = histogram(
            "penstock_queue_wait_seconds", help_, ["role"], buckets=(0.001, 0.002, 0.005, *_SECONDS)
        )
        help_ = "Requests answered by another model than the first one chosen."
        self.fallbacks = counter("penstock_fallbacks", help_, ["role"])
        help_ = "Attempts degraded by a rule: sent with less than the request specifies."
        self.degraded = counter("penstock_degraded", help_, ["role", "model", "rule"])
        self.requests_in_flight = gauge("penstock_requests_in_flight", "Requests in flight.", ["role"])
        self.dead = counter("penstock_dead_letters", "Messages dead-lettered.", ["role"])
        help_ = "How long a reply waited for room in LLM_REPLIES."
        self.reply_room_wait = histogram("penstock_reply_room_wait_seconds", help_, buckets=_SECONDS)

    def _add_attempts(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        help_ = "From the start of the successful attempt to its first output."
        self.first_token = histogram(
            "penstock_first_token_seconds", help_, ["role", "model"], buckets=_SECONDS
        )
        help_ = "Provider attempts, by outcome: completed, cancelled, blocked, or a failure kind."
        self.attempts = counter("penstock_attempts", help_, ["role", "model", "outcome"])
        self.retries = counter("penstock_retries", "Attempts after the first of a request.", ["role"])
        self.usage_kept = gauge("penstock_usage_events_kept", "Usage events in memory, not stored yet.")
        self.usage_lost = counter("penstock_usage_events_lost", "Usage events that were never stored.")
        help_ = "Tokens as counted by the provider, or estimated where it did not count."
        self.tokens = counter("penstock_tokens", help_, ["role", "model", "kind"])
        self.cost = counter("penstock_cost_microusd", "Cost in micro-dollars.", ["role", "model"])

    def _add_models(self, registry: CollectorRegistry) -> None:
        gauge = partial(Gauge, registry=registry)
        self.breaker = gauge("penstock_breaker_state", "0 closed, 1 half open, 2 open.", ["model"])
        help_ = "1 while the provider does not serve a model of the catalogue."
        self.withdrawn = gauge("penstock_model_withdrawn", help_, ["model"])

    def _add_limits(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        help_ = "Share of a limit in use, as this worker sees it."
        self.limit_used = gauge("penstock_limit_used_ratio", help_, _LIMIT)
        help_ = "What is left of a limit, in its unit, as this worker sees it."
        self.limit_headroom = gauge("penstock_limit_headroom", help_, _LIMIT)
        help_ = "Time in which nothing was left of a limit, or too little for a request."
        self.limit_full = counter("penstock_limit_full_seconds", help_, _LIMIT)
        help_ = "Requests that had to wait for quota, or went to another model, when they arrived."
        self.limit_throttled = counter("penstock_limit_throttled_requests", help_, _LIMIT)
        help_ = "1 while a degradation rule applies to a model in a role, as this worker sees it."
        self.degrading = gauge("penstock_degradation_active", help_, ["role", "model", "rule"])
        self.unreachable_quotas = gauge(
            "penstock_quota_unreachable",
            "Shared quotas whose record cannot be reached: their models are not called.",
        )
        help_ = "Cooldowns of failed providers, which weighted steps avoid meanwhile."
        self.provider_cooldowns = counter("penstock_provider_cooldowns", help_, ["provider"])

    def _add_credentials(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        help_ = "Age of a key, since the last change of its file or the day that the environment names."
        self.credential_age = gauge("penstock_credential_age_days", help_, ["credential"])
        self.credential_max_age = gauge(
            "penstock_credential_max_age_days", "Age above which a key is too old."
        )
        help_ = "1 while a credential is refused for a model."
        self.credential_refused = gauge("penstock_credential_refused", help_, ["credential", "model"])
        help_ = "1 while the provider reports that the provider account's budget is spent."
        self.credential_spent = gauge("penstock_credential_budget_spent", help_, ["credential"])
        self.credential_rotations = counter(
            "penstock_credential_rotations", "Keys replaced while the worker runs.", ["credential"]
        )


class WorkerTelemetry(Struct, frozen=True):
    """Metrics, traces, and the clock for both."""

    metrics: WorkerMetrics
    tracer: Tracer
    clock: Clock
