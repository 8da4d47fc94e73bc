"""The catalogue: providers, models and roles, as frozen structs.

Defaults are those of REQUIREMENTS C and D.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct, field

from penstock.contract.names import Role
from penstock.runtime.config.takes import Take

__all__ = [
    "AutoRule",
    "Batch",
    "Breaker",
    "Catalogue",
    "Degradation",
    "Limits",
    "Model",
    "OnErrors",
    "OnHighLatency",
    "OnRateLimit",
    "Parameters",
    "Price",
    "Provider",
    "RateLimitHeaders",
    "Retry",
    "RoleConfig",
    "Routing",
    "StreamFormat",
    "TierWarning",
    "Timeouts",
    "WeightedStep",
]


RateLimitHeaders = Literal["openai", "groq", "anthropic", "openrouter", "mistral", "none"]
"""How a provider tells of its limits in the headers of an answer; `none`: not at all."""


class StreamFormat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider's streams differ from what OpenAI documents."""

    done: Literal["optional", "required"] = "optional"
    """`required`: a stream without `[DONE]` is cut, even if all its choices are finished. `optional`: it is whole when
    all choices have their finish reason and the HTTP body ends cleanly."""
    finish_reason: Literal["last", "every", "optional"] = "last"
    """On which chunk of a choice it stands. `every`: it proves nothing, so `[DONE]` ends the stream, or, where `done`
    is `optional`, the clean end of the body. `optional`: it may be missing, and the same ends the stream."""
    event_end: Literal["blank_line", "newline"] = "blank_line"
    """`newline`: each line of data is an event."""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible endpoint and the credentials for it."""

    preset: str | None = None
    """A file of deploy/catalogues/presets/: what it says holds where this entry says nothing."""
    sdk: Literal["openai", "groq"] = "openai"
    """Which SDK client speaks to it; any OpenAI-compatible endpoint speaks `openai`."""
    base_url: str | None = None
    """With the version path (`https://host/v1`); None means the SDK's own default."""
    api_key_env: tuple[str, ...] = ()
    """Names of environment variables, one per credential, or of files in the directory of secrets; one that is not
    set is left out. Empty means the endpoint asks for no key."""
    quota_group: str | None = None
    """All credentials of the providers that name the same group share one quota per model, as the keys of one Groq
    organisation do. None: each credential has a quota of its own."""
    stream: StreamFormat = field(default_factory=StreamFormat)
    rate_limit_headers: RateLimitHeaders | None = None
    """None: as the SDK's own provider tells of them."""
    takes: dict[str, Take] = field(default_factory=dict)
    """Of all its models, where they say nothing themselves."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one credential may use of one model. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    concurrency: int | None = None
    kind: Literal["window", "token_bucket"] = "window"
    """How the provider counts the figures per minute: what was used counts for a minute, or a bucket of that size is
    refilled evenly, all of it in a minute. Limits per day are windows.
    """

    @property
    def is_unlimited(self) -> bool:
        return self.figures == (None,) * len(self.figures)

    @property
    def figures(self) -> tuple[int | None, ...]:
        return (
            self.requests_per_minute,
            self.tokens_per_minute,
            self.requests_per_day,
            self.tokens_per_day,
            self.concurrency,
        )


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Micro-dollars per million tokens ($0.15 per million = 150_000)."""

    input: int = 0
    output: int = 0
    cached_input: int | None = None
    """None: cached input costs what input costs."""


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as the chains name it (the key in `models`) and as its provider knows it."""

    provider: str
    name: str | None = None
    """The provider's name for it; None: the same as the key."""
    context_tokens: int = 128_000
    vision: bool = False
    price: Price = field(default_factory=Price)
    limits: Limits = field(default_factory=Limits)
    takes: dict[str, Take] = field(default_factory=dict)
    """Parameters that it does not take as an application or a role sends them; what is not named is taken."""


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Generation parameters a role adds where the request says nothing."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds. `total_s` is the whole request from acceptance, attempts and waiting included."""

    total_s: float = 90.0
    batch_total_s: float = 14_400.0
    """The same for a request of the batch lane that names no deadline of its own."""
    whole_s: float = 60.0
    """One provider call that does not stream."""
    first_token_s: float = 20.0
    between_tokens_s: float = 15.0


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pauses begin at `base_s`, grow with each attempt and stay within `cap_s` (REQUIREMENTS D2)."""

    max_attempts: int = 4
    same_model: int = 1
    """How often a request tries the same model again at once after a 5xx or a broken connection without any output,
    before it goes to the next model."""
    base_s: float = 0.2
    cap_s: float = 8.0
    batch_max_attempts: int = 50
    """Of the batch lane, which has hours: with `batch_cap_s` it outlasts a provider that is away for some of them."""
    batch_cap_s: float = 300.0


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """REQUIREMENTS D3."""

    failures: int = 5
    open_s: float = 15.0
    """The first opening; doubled while probes fail ..."""
    longest_open_s: float = 60.0
    """... up to this, or to `open_s` where that is longer."""
    probe_interval_s: float = 5.0
    """The shortest time between two probes."""
    successes: int = 2


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the batch lane leaves to the interactive one (REQUIREMENTS C6)."""

    reserve: float = 0.2
    """The share of each limit per minute, and of the concurrent calls, that a batch request leaves free."""
    patience_s: float = 10.0
    """When none was let through for so long, one goes as if it were interactive."""


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


class WeightedStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models between which a request draws one (REQUIREMENTS A7); in the file `{gpt-4o: 70, azure-gpt-4o: 30}`."""

    models: tuple[str, ...]
    """They stand side by side in the chain, in this order."""
    weights: tuple[int, ...]
    """One for each; its part in the sum of all is the model's share of the requests."""

    @property
    def shares(self) -> dict[str, int]:
        return dict(zip(self.models, self.weights, strict=True))


class AutoRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the router may choose a role for a request whose role is `auto`."""

    keywords: tuple[str, ...]
    """Words or phrases; one of them in the last user message is enough. Case is ignored, and only whole words match."""


class RoleConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role: its chain, its share of the worker, its parameters."""

    chain: tuple[str, ...]
    """Keys of `models`: the primary first, then the fallbacks; those of a weighted step one after another."""
    weighted: tuple[WeightedStep, ...] = ()
    """The steps of the chain that are drawn from. Not a key of the file: there they are mappings inside `chain`."""
    concurrency: int = 16
    """Interactive requests one worker process runs at once for this role."""
    batch_concurrency: int = 4
    """And requests of the batch lane beside them."""
    auto: AutoRule | None = None
    """None: `auto` chooses the role by the built-in rules alone, and a role that is not built in never."""
    by_complexity: bool = True
    """False: the chain's order is kept, whatever the complexity."""
    parameters: Parameters = field(default_factory=Parameters)
    ceilings: Parameters = field(default_factory=Parameters)
    """A request asking for more than this gets this."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    wait_s: float = 2.0
    """After a 429 whose `retry-after` is no longer than this, a request waits for the same model once before it goes to
    the next one."""
    degradation: Degradation | None = None
    """None: the catalogue's; a section here holds instead of that, the whole of it."""


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of REQUIREMENTS B1 and B2."""

    long_context_tokens: int = 30_000
    complex_characters: int = 200


class TierWarning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a limit is nearly used up (REQUIREMENTS C7)."""

    warn_share: float = 0.9
    """Used to this share it is warned of ..."""
    calm_share: float = 0.8
    """... and that is over when it is used less than this ..."""
    calm_s: float = 30.0
    """... for so long."""


class Catalogue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the services need to know about providers, models and roles."""

    name: str
    providers: dict[str, Provider]
    models: dict[str, Model]
    roles: dict[Role, RoleConfig]
    breaker: Breaker = field(default_factory=Breaker)
    sit_out_s: float = 60.0
    """For how long a provider that failed is not drawn in weighted steps, and a refused key is left out (A6, A7)."""
    routing: Routing = field(default_factory=Routing)
    batch: Batch = field(default_factory=Batch)
    degradation: Degradation = field(default_factory=Degradation)
    quota_warning: TierWarning = field(default_factory=TierWarning)

    def digest(self) -> str:
        """A short hash of models, roles and routing, which a router and its workers must have in common."""
        shared = msgspec.json.encode((self.models, self.roles, self.routing), order="deterministic")
        return hashlib.sha256(shared).hexdigest()[:12]

    def degradation_of(self, role: Role) -> Degradation:
        """The rules that hold for `role`."""
        own = self.roles[role].degradation
        return self.degradation if own is None else own

    def takes_of(self, key: str) -> dict[str, Take]:
        """What becomes of the parameters of a request to the model `key`."""
        model = self.models[key]
        return {**self.providers[model.provider].takes, **model.takes}

    def model_name(self, key: str) -> str:
        """The provider's own name for the model `key`."""
        return self.models[key].name or key
