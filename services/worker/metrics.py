"""What a worker counts. Labels are closed lists: roles, models of the catalogue, failure kinds, codes."""

from __future__ import annotations

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from penstock.bus.clock import Clock
from penstock.bus.tracing import Tracer
from penstock.contract.reply import Completed, Failed

__all__ = ["Telemetry", "WorkerMetrics"]

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of the GenAI semantic conventions, v1.41."""


class WorkerMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._declare_requests(registry)
        self._declare_attempts(registry)
        self._declare_standing(registry)
        self._declare_credentials(registry)

    def _declare_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "penstock_requests",
            "Requests ended, by outcome: completed, or an error code.",
            ["role", "outcome"],
            registry=registry,
        )
        self.duration = Histogram(
            "penstock_request_duration_seconds",
            "From acceptance by JetStream to the terminal event.",
            ["role"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_wait = Histogram(
            "penstock_queue_wait_seconds",
            "From acceptance by JetStream to a worker.",
            ["role"],
            buckets=(0.001, 0.002, 0.005, *_SECONDS),
            registry=registry,
        )
        self.fallbacks = Counter(
            "penstock_fallbacks",
            "Requests answered by another model than the first one chosen.",
            ["role"],
            registry=registry,
        )
        self.degraded = Counter(
            "penstock_degraded",
            "Attempts that were given less than was asked for, by rule.",
            ["role", "model", "rule"],
            registry=registry,
        )
        self.running = Gauge("penstock_running", "Requests in hand.", ["role"], registry=registry)
        self.dead = Counter("penstock_dead_letters", "Messages buried.", ["role"], registry=registry)

    def _declare_attempts(self, registry: CollectorRegistry) -> None:
        self.first_token = Histogram(
            "penstock_first_token_seconds",
            "From the beginning of the answering attempt to its first output.",
            ["role", "model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.attempts = Counter(
            "penstock_attempts",
            "Provider attempts, by outcome: completed, cancelled, or a failure kind.",
            ["role", "model", "outcome"],
            registry=registry,
        )
        self.retries = Counter(
            "penstock_retries", "Attempts after the first of a request.", ["role"], registry=registry
        )
        self.tokens = Counter(
            "penstock_tokens",
            "Tokens as the provider counted them, or as estimated for broken streams.",
            ["role", "model", "kind"],
            registry=registry,
        )
        self.cost = Counter(
            "penstock_cost_microusd", "Micro-dollars spent.", ["role", "model"], registry=registry
        )

    def _declare_standing(self, registry: CollectorRegistry) -> None:
        """What stands in the way of the next attempt."""
        self.breaker = Gauge(
            "penstock_breaker_state", "0 closed, 1 half open, 2 open.", ["model"], registry=registry
        )
        self.withdrawn = Gauge(
            "penstock_model_withdrawn",
            "1 while the provider does not serve a model of ours.",
            ["model"],
            registry=registry,
        )
        self.limit_used = Gauge(
            "penstock_limit_used_ratio",
            "Share of a limit in use, as this worker sees it.",
            ["credential", "model", "limit"],
            registry=registry,
        )
        self.limit_headroom = Gauge(
            "penstock_limit_headroom",
            "What is left of a limit, in its unit, as this worker sees it.",
            ["credential", "model", "limit"],
            registry=registry,
        )
        self.limit_full = Counter(
            "penstock_limit_full_seconds",
            "Time in which nothing was left of a limit, or too little for a request that came.",
            ["credential", "model", "limit"],
            registry=registry,
        )
        self.limit_missed = Counter(
            "penstock_limit_missed_requests",
            "Requests that a limit could not let through when they came.",
            ["credential", "model", "limit"],
            registry=registry,
        )
        self.degrading = Gauge(
            "penstock_degradation_active",
            "1 while a rule holds for a model in a role, as this worker sees it.",
            ["role", "model", "rule"],
            registry=registry,
        )
        self.unreachable_quotas = Gauge(
            "penstock_quota_unreachable",
            "Shared quotas whose record this worker cannot reach; their requests wait.",
            registry=registry,
        )

        self.left_out = Counter(
            "penstock_providers_left_out",
            "Times a provider failed and was not drawn in weighted steps for a while.",
            ["provider"],
            registry=registry,
        )

    def _declare_credentials(self, registry: CollectorRegistry) -> None:
        """By the names of credentials, which the catalogue lists."""
        self.credential_age = Gauge(
            "penstock_credential_age_days",
            "Age of a key: since its file was last changed, or since the day the environment names.",
            ["credential"],
            registry=registry,
        )
        self.credential_max_age = Gauge(
            "penstock_credential_max_age_days", "From which age on a key is too old.", registry=registry
        )
        self.credential_refused = Gauge(
            "penstock_credential_refused",
            "1 while a credential is refused for a model.",
            ["credential", "model"],
            registry=registry,
        )
        self.credential_spent = Gauge(
            "penstock_credential_budget_spent",
            "1 while the provider says that nothing is left of the account's budget.",
            ["credential"],
            registry=registry,
        )
        self.credential_rotations = Counter(
            "penstock_credential_rotations", "New keys taken up.", ["credential"], registry=registry
        )

    def count_end(self, role: str, first_choice: str, event: Completed | Failed) -> None:
        """One request ended; `first_choice`: the model that was to answer it."""
        self.requests.labels(role, event.error.code if isinstance(event, Failed) else "completed").inc()
        self.duration.labels(role).observe(event.timings.total_ms / 1000)
        if isinstance(event, Completed) and event.model != first_choice:
            self.fallbacks.labels(role).inc()


class Telemetry(Struct, frozen=True):
    """Metrics, traces, and the clock for both."""

    metrics: WorkerMetrics
    tracer: Tracer
    clock: Clock

    def since_ms(self, unix_ms: int) -> float:
        """Milliseconds since `unix_ms` of another machine's clock; 0 where that is ahead of this one."""
        return round(max(0.0, self.clock.unix_s() * 1000 - unix_ms), 3)
