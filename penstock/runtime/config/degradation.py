"""While a model is in trouble: how requests are reduced (D5), and the warning about a nearly used limit (C7)."""

from __future__ import annotations

from msgspec import Struct, field

from penstock.runtime.config.bounds import Positive, PositiveInt, Share

__all__ = ["Degradation", "OnErrors", "OnHighLatency", "OnRateLimit", "QuotaWarning"]


class OnRateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model without quota is skipped, and the next one of the chain is used."""

    enabled: bool = True
    """False: the request waits for the model."""


class OnHighLatency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While too many calls of a model are slow, its answers are limited to fewer tokens."""

    enabled: bool = True
    slow_s: Positive = 20.0
    """A call is slow if its whole answer took longer than this."""
    slow_first_token_s: Positive = 8.0
    """A streamed call is slow also if its first token took longer than this."""
    trigger_share: Share = 0.1
    """The rule starts above this share of slow calls: at 0.1, when the 90th percentile is slow."""
    clear_share: Share = 0.05
    """The rule ends at this share or below."""
    window_s: Positive = 120.0
    min_calls: PositiveInt = 10
    """The minimum number of calls in the window for the rule to start."""
    min_duration_s: Positive = 60.0
    """The minimum duration of the rule."""
    reduce_by: Share = 0.3
    """The share by which `max_tokens` is reduced."""
    floor_tokens: PositiveInt = 256
    """`max_tokens` is not reduced below this."""


class OnErrors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While too many attempts at a model fail, it is sent less history. A 429 does not count as a failure."""

    enabled: bool = True
    trigger_share: Share = 0.05
    clear_share: Share = 0.025
    window_s: Positive = 60.0
    min_calls: PositiveInt = 20
    min_duration_s: Positive = 30.0
    keep_messages: PositiveInt = 6
    """The number of messages kept besides system and developer messages."""


class Degradation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for a model that is short of quota, slow or failing (D5); each can be disabled."""

    on_rate_limit: OnRateLimit = field(default_factory=OnRateLimit)
    on_high_latency: OnHighLatency = field(default_factory=OnHighLatency)
    on_errors: OnErrors = field(default_factory=OnErrors)


class QuotaWarning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The warning about a limit that is nearly used up (C7)."""

    warn_share: Positive = 0.9
    """The warning starts when this share of the limit is used."""
    clear_share: Positive = 0.8
    """The warning ends when the used share stays below this for `clear_s`."""
    clear_s: Positive = 30.0
