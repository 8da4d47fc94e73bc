"""What is given up, and when, while a model is short of quota, slow or failing (REQUIREMENTS D5)."""

from __future__ import annotations

from msgspec import Struct, field

__all__ = ["Degradation", "OnErrors", "OnHighLatency", "OnRateLimit"]


class OnRateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model without quota is passed over for the next of the chain."""

    enabled: bool = True
    """False: the request waits for it."""


class OnHighLatency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While too many calls of a model are slow, answers may be less long."""

    enabled: bool = True
    slow_s: float = 20.0
    """A call is slow when its whole answer took longer than this ..."""
    slow_first_token_s: float = 8.0
    """... or the first token of a streamed one did."""
    share: float = 0.1
    """It begins above this share of slow calls: at 0.1, when the 90th percentile is slow."""
    calm_share: float = 0.05
    """It ends at this share or below."""
    window_s: float = 120.0
    at_least: int = 10
    """With fewer calls in the window it does not begin."""
    hold_s: float = 60.0
    """It lasts at least so long."""
    cut: float = 0.3
    """The share of `max_tokens` that is taken off."""
    floor_tokens: int = 256
    """Nothing is cut below this."""


class OnErrors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While too many attempts at a model fail, it is sent less history. A 429 is no failure."""

    enabled: bool = True
    share: float = 0.05
    calm_share: float = 0.025
    window_s: float = 60.0
    at_least: int = 20
    hold_s: float = 30.0
    messages: int = 6
    """How many are left beside system and developer messages."""


class Degradation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule per trouble; each can be switched off."""

    on_rate_limit: OnRateLimit = field(default_factory=OnRateLimit)
    on_high_latency: OnHighLatency = field(default_factory=OnHighLatency)
    on_errors: OnErrors = field(default_factory=OnErrors)
