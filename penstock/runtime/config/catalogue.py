"""The catalogue: providers, models and roles, as frozen structs.

The defaults of limits and retries are those of the promises C and D (docs/requirements.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from penstock.contract.names import AUTO, INDEX, ROLES_BY_CONTENT, Kind, Role, implicit_role
from penstock.runtime.config.accounts import AccountRules, IntakeRate
from penstock.runtime.config.bounds import (
    Date,
    Limit,
    MicroUsd,
    NotNegative,
    NotNegativeInt,
    Positive,
    PositiveInt,
    Share,
    Weight,
    between,
    bounded,
)
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.config.degradation import Degradation, QuotaWarning
from penstock.runtime.config.guard import Guard
from penstock.runtime.config.parameter_mapping import SentAs
from penstock.runtime.config.retrieval import Embedding, Retrieval
from penstock.runtime.config.routing import AutoRule, Routing

__all__ = [
    "Batch",
    "Breaker",
    "Catalogue",
    "Limits",
    "Model",
    "Parameters",
    "Price",
    "ProviderConfig",
    "RateLimitHeaders",
    "RetrySettings",
    "RoleConfig",
    "SdkName",
    "StreamFormat",
    "Timeouts",
    "WeightedStep",
]


SdkName = Literal["openai", "groq"]
RateLimitHeaders = Literal["openai", "groq", "anthropic", "openrouter", "mistral", "none"]
"""The format of a provider's rate limit headers; `none`: it sends none."""


class StreamFormat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider's streams differ from those that OpenAI documents."""

    done: Literal["optional", "required"] = "optional"
    """`required`: a stream without `[DONE]` is truncated, even if all its choices are finished. `optional`: it is
    complete when all choices have their finish reason and the HTTP body ends cleanly."""
    finish_reason: Literal["last", "every", "optional"] = "last"
    """The chunk of a choice that carries its finish reason. `every`: all of them, so that only `[DONE]` ends the
    stream, or the clean end of the body if `done` is `optional`. `optional`: it may be missing, with the same end."""
    event_end: Literal["blank_line", "newline"] = "blank_line"
    """`newline`: each data line is an event."""


class ProviderConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible endpoint and the credentials for it."""

    preset: str | None = None
    """The name of a file in deploy/catalogues/presets/, whose values apply where this entry has none."""
    sdk: SdkName = "openai"
    """The SDK client to use; `openai` works for every OpenAI-compatible endpoint."""
    base_url: str | None = None
    """With the version path (`https://host/v1`); None means the SDK's own default."""
    ca_file: str | None = None
    """Path of a PEM file with the only authorities whose certificates are accepted; a relative one starts in the folder
    of the catalogue. None: the usual authorities."""
    api_key_env: tuple[str, ...] = ()
    """Names of environment variables, one per credential, or of files in the directory of secrets; unset ones are left
    out. Empty: the endpoint needs no key."""
    quota_group: str | None = None
    """Credentials of providers with the same group share one quota per model, as the keys of one Groq organisation
    do. None: each credential has its own quota."""
    stream: StreamFormat = field(default_factory=StreamFormat)
    rate_limit_headers: RateLimitHeaders | None = None
    """None: the format of the SDK's own provider."""
    prompt_cache: Literal["automatic", "marked"] = "automatic"
    """`marked`: it caches only up to a part of a message that has `cache_control`, which a whole collection gets."""
    parameter_mapping: dict[str, SentAs] = field(default_factory=dict)
    """Applies to all its models, which can override it."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one credential for one model. None: no limit."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    requests_per_day: Limit | None = None
    tokens_per_day: Limit | None = None
    concurrency: Limit | None = None
    kind: Literal["window", "token_bucket"] = "window"
    """How the provider counts per minute: in a sliding window, or in a bucket that refills evenly within a minute.
    Limits per day are windows.
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
    """Micro-dollars per million tokens ($0.15 per million = 150_000); a kind without a price costs as its whole."""

    input: MicroUsd = 0
    output: MicroUsd = 0
    cached_input: MicroUsd | None = None
    """Input that the provider read from its cache; None: the price of input."""
    cache_write: MicroUsd | None = None
    """Input that the provider wrote into its cache; None: the price of input."""
    reasoning: MicroUsd | None = None
    """None: the price of output."""
    audio_input: MicroUsd | None = None
    """None: the price of input."""
    audio_output: MicroUsd | None = None
    """None: the price of output."""
    as_of: Date = ""
    """The day on which the provider listed these prices."""
    source: str = ""
    """Where it listed them."""


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model under its key in the catalogue, which chains use, and under its provider's name."""

    provider: str
    name: str | None = None
    """The provider's name for it; None: the same as the key."""
    context_tokens: PositiveInt = 128_000
    supports_vision: bool = False
    """Whether it accepts images."""
    price: Price | None = None
    """None: not known, which is not the same as free (`{input: 0, output: 0}`)."""
    limits: Limits = field(default_factory=Limits)
    parameter_mapping: dict[str, SentAs] = field(default_factory=dict)
    """Parameters that are changed or left out for this model; others are sent unchanged."""
    embedding: Embedding | None = None
    """None: the model answers chat requests."""
    fallbacks: tuple[str, ...] = ()
    """Models that answer a request which names this one, while it cannot; in roles the chain alone decides."""


class Parameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Generation parameters that a role adds if the request does not set them."""

    temperature: Annotated[float, between(0, 2)] | None = None
    top_p: Annotated[float, between(0, 1)] | None = None
    max_tokens: Annotated[int, bounded("must be at least 1", "write a number of at least 1", ge=1)] | None = (
        None
    )
    frequency_penalty: Annotated[float, between(-2, 2)] | None = None
    presence_penalty: Annotated[float, between(-2, 2)] | None = None
    reasoning_effort: str | None = None


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time limits in seconds. `total_s` covers the whole request from acceptance, with all attempts and waiting."""

    total_s: Positive = 90.0
    batch_total_s: Positive = 14_400.0
    """The same for a request of the batch lane without a deadline."""
    non_streaming_s: Positive = 60.0
    """One provider call that does not stream."""
    first_token_s: Positive = 20.0
    between_tokens_s: Positive = 15.0


class RetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retries: pauses start at `initial_backoff_s` and grow up to `max_backoff_s` (D2)."""

    max_attempts: PositiveInt = 4
    same_model_retries: NotNegativeInt = 1
    """How often a request retries the same model at once, after a 5xx or a broken connection without output, before it
    goes to the next model."""
    initial_backoff_s: Positive = 0.2
    max_backoff_s: Positive = 8.0
    batch_max_attempts: PositiveInt = 50
    """`max_attempts` of the batch lane: with `batch_max_backoff_s` it outlasts an outage of some hours."""
    batch_max_backoff_s: Positive = 300.0


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The circuit breaker of a model (D3)."""

    failure_threshold: PositiveInt = 5
    """Failures in a row that open it."""
    open_s: Positive = 15.0
    """Duration of the first opening; it doubles while probes fail."""
    max_open_s: Positive = 60.0
    """The longest opening, unless `open_s` is longer."""
    probe_interval_s: Positive = 5.0
    """The minimum time between two probes."""
    success_threshold: PositiveInt = 2
    """Successful probes in a row that close it."""


class Batch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The capacity that the batch lane leaves to the interactive one (C6)."""

    reserve_share: Share = 0.2
    """The share of each limit per minute, and of concurrent calls, that batch requests leave free."""
    starvation_timeout_s: Positive = 10.0
    """If no batch request was admitted for this time, one is admitted as if it were interactive."""


class WeightedStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models of which one is chosen at random (A7); in the file `{gpt-4o: 70, azure-gpt-4o: 30}`."""

    models: tuple[str, ...]
    """Keys of the models, adjacent in the chain and in this order."""
    weights: tuple[Weight, ...]
    """The weight of each model; divided by their sum it is the model's share of the requests."""

    @property
    def shares(self) -> dict[str, int]:
        return dict(zip(self.models, self.weights, strict=True))


class RoleConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role: its chain, its concurrency in a worker, its parameters and limits."""

    chain: tuple[str, ...]
    """Keys of `models`: the primary, then the fallbacks; those of a weighted step follow each other."""
    weighted: tuple[WeightedStep, ...] = ()
    """The weighted steps of the chain. Not a key of the file, where they are mappings inside `chain`."""
    slots_per_worker: PositiveInt = 16
    """Interactive requests of this role that one worker process runs at once."""
    batch_slots_per_worker: NotNegativeInt = 4
    """Requests of the batch lane that it runs in addition."""
    auto: AutoRule | None = None
    """None: `auto` chooses the role by the built-in rules alone, which know ROLES_BY_CONTENT."""
    order_by_complexity: bool = True
    """False: the chain keeps its order for every complexity."""
    parameters: Parameters = field(default_factory=Parameters)
    ceilings: Parameters = field(default_factory=Parameters)
    """Upper bounds; a request with a higher value gets the bound."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetrySettings = field(default_factory=RetrySettings)
    max_model_wait_s: NotNegative = 2.0
    """After a 429 whose `retry-after` is no longer than this, a request waits for the same model once before it goes to
    the next one."""
    degradation: Degradation | None = None
    """None: the catalogue's section; a section here replaces it completely."""

    def with_chain(self, chain: tuple[str, ...]) -> RoleConfig:
        """A role with this chain, in its order, and the slots, time limits, retries and degradation of this one."""
        own = Parameters()
        return replace(
            self, chain=chain, weighted=(), auto=None, order_by_complexity=False, parameters=own, ceilings=own
        )


class Catalogue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The providers, models and roles of a system, with their rules."""

    name: str
    providers: dict[str, ProviderConfig]
    models: dict[str, Model]
    roles: dict[Role, RoleConfig]
    breaker: Breaker = field(default_factory=Breaker)
    provider_cooldown_s: Positive = 60.0
    """How long weighted steps avoid a failed provider (A7)."""
    credential_cooldown_s: Positive = 60.0
    """How long a refused key is not used while another one is accepted (A6)."""
    routing: Routing = field(default_factory=Routing)
    batch: Batch = field(default_factory=Batch)
    degradation: Degradation = field(default_factory=Degradation)
    quota_warning: QuotaWarning = field(default_factory=QuotaWarning)
    every_account: IntakeRate = field(default_factory=IntakeRate)
    """Of each account that has no rate of its own."""
    accounts: dict[str, AccountRules] = field(default_factory=dict)
    budgets: Budgets | None = None
    """None: there are no budgets, and no ledger is asked."""
    guard: Guard | None = None
    """None: no content is checked."""
    retrieval: Retrieval | None = None
    """None: no documents are indexed, and nothing is remembered."""

    @property
    def classifies(self) -> bool:
        """Whether the router asks for the topic of unclear requests."""
        return self.guard is not None and self.routing.classify_unclear

    @cached_property
    def implicit_roles(self) -> dict[Role, RoleConfig]:
        """The role of each model, for requests that name it (docs/decisions/0025)."""
        return {
            implicit_role(key): self._role_with_earliest(key).with_chain((key, *model.fallbacks))
            for key, model in self.models.items()
        }

    @cached_property
    def all_roles(self) -> dict[Role, RoleConfig]:
        """`roles` and the implicit ones."""
        return self.roles | self.implicit_roles

    def implicit_roles_of(self, roles: Iterable[Role]) -> tuple[Role, ...]:
        """The implicit roles of the models in the chains of those of `roles` that the file defines."""
        chains = (self.roles[role].chain for role in roles if role in self.roles)
        return tuple(dict.fromkeys(implicit_role(model) for chain in chains for model in chain))

    def _role_with_earliest(self, model: str) -> RoleConfig:
        """The role in whose chain the model has the lowest index."""
        users = [role for role in self.roles.values() if model in role.chain]
        return min(users, key=lambda role: role.chain.index(model), default=RoleConfig(chain=(model,)))

    def kind_of(self, role: Role) -> Kind:
        """What the models of `role` answer; the mailbox of the indexer is a role too."""
        if role == INDEX:
            return "index"
        config = self.all_roles[role]
        return "chat" if self.models[config.chain[0]].embedding is None else "embed"

    def roles_of_kind(self, kind: Kind) -> tuple[Role, ...]:
        """The roles of the file whose models answer requests of `kind`."""
        return tuple(role for role in self.roles if self.kind_of(role) == kind)

    @property
    def mailboxes(self) -> tuple[Role, ...]:
        """The roles whose mailboxes exist from the start: `roles`, and that of the indexer if there is one."""
        return (*self.roles, *(() if self.retrieval is None else (INDEX,)))

    def vector_space(self, key: str) -> str:
        """The vector space of the embedding model `key`. Raises ValueError for another model."""
        embedding = self.models[key].embedding
        if embedding is None:
            raise ValueError(f"{key} is not an embedding model")
        return embedding.space or self.model_name(key)

    def digest(self) -> str:
        """A short hash of what all services must have in common: all sections but those of providers and workers."""
        rules = (self.every_account, self.accounts)
        optional = (self.budgets, self.guard, self.retrieval, None if rules == (IntakeRate(), {}) else rules)
        parts = (self.models, self.roles, self.routing, *(each for each in optional if each is not None))
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:12]

    def providers_at(self, url: str | None) -> set[str]:
        """The providers whose address is below `url`."""
        return {name for name, each in self.providers.items() if f"{each.base_url}/".startswith(f"{url}/")}

    def roles_of_auto(self) -> tuple[Role, ...]:
        """The roles that the router may choose for a request whose role is `auto`."""
        return tuple(
            name for name, role in self.roles.items() if name in ROLES_BY_CONTENT or role.auto is not None
        )

    def is_model(self, name: str) -> bool:
        """Whether a request that names a role or a model by `name` means a model: a role of the same name hides it."""
        return name in self.models and name not in self.roles and name != AUTO

    def degradation_of(self, role: Role) -> Degradation:
        """The degradation rules of `role`."""
        own = self.all_roles[role].degradation
        return self.degradation if own is None else own

    def parameter_mapping_of(self, key: str) -> dict[str, SentAs]:
        """The changes to the parameters of a request to the model `key`."""
        model = self.models[key]
        return {**self.providers[model.provider].parameter_mapping, **model.parameter_mapping}

    def model_name(self, key: str) -> str:
        """The provider's own name for the model `key`."""
        return self.models[key].name or key
