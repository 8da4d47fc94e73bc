"""Checks beyond types: names that must exist, figures that must be consistent.

Every check considers the values that could be read; the others are in the report already.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from penstock.contract.guard.policies import DETECTORS
from penstock.contract.names import RESERVED_ROLES, ROLES
from penstock.contract.request import LONGEST_S
from penstock.runtime.config.accounts import AccountRules, IntakeRate, check_accounts
from penstock.runtime.config.budgets.checks import check_budgets, limits_money
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.config.catalogue import (
    Catalogue,
    Limits,
    Model,
    Parameters,
    ProviderConfig,
    RetrySettings,
    RoleConfig,
    Timeouts,
)
from penstock.runtime.config.degradation import Degradation, QuotaWarning
from penstock.runtime.config.guard import Guard, check_guard
from penstock.runtime.config.parameter_mapping import check_parameter_mapping
from penstock.runtime.config.presets import preset_mapping_of_model, preset_mapping_of_provider
from penstock.runtime.config.problems import ProblemReport, define_or_use, joined
from penstock.runtime.config.retrieval import Embedding, Retrieval, check_retrieval
from penstock.runtime.config.routing import AutoRule
from penstock.runtime.config.secrets import check_key_name
from penstock.runtime.tokens import ASSUMED_OUTPUT_TOKENS

__all__ = ["Draft", "check", "warnings_of"]

_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_USERINFO = re.compile(r"(\w+://)?[^/?#\s]*@")
_ADDRESS = re.compile(r"https?://(\[[^/\s\]]+\]|[^/?#\s:]+)(:\d{1,5})?(?![^/?#])")
_ROUTE = re.compile(r"(/chat/completions|(?<=/v1)/(completions|responses|embeddings|moderations))/?([?#]|$)")


class Draft(Struct, frozen=True, kw_only=True):
    """A catalogue as far as it could be read; the names include those of invalid entries."""

    provider_names: Collection[str] | None
    """None: the section could not be read."""
    model_names: Collection[str] | None
    role_names: Collection[str] | None
    providers: dict[str, ProviderConfig]
    models: dict[str, Model]
    roles: dict[str, RoleConfig]
    degradation: Degradation | UnsetType = UNSET
    quota_warning: QuotaWarning | UnsetType = UNSET
    every_account: IntakeRate | UnsetType = UNSET
    accounts: dict[str, AccountRules]
    budgets: Budgets | UnsetType | None = None
    guard: Guard | UnsetType | None = None
    retrieval: Retrieval | UnsetType | None = None


def check(draft: Draft, report: ProblemReport) -> None:
    """Report every mistake in the values that could be read."""
    for name, provider in draft.providers.items():
        _check_provider(provider, joined("providers", name), report)
    for name, model in draft.models.items():
        _check_model(model, name, draft, report)
    _check_shared(draft, report)
    for name, role in draft.roles.items():
        _check_role(role, joined("roles", name), report)
        _check_chain(role, joined("roles", name, "chain"), draft, report)
    _check_role_names(draft.role_names or (), report)
    if draft.role_names is not None and "chat" not in draft.role_names:
        report.add("roles.chat", "is missing: every catalogue has this role", "add chat: with a chain")
    if "vision" in draft.roles:
        _check_vision(draft, report)
    _check_degradation(draft.degradation, "degradation", report)
    if isinstance(draft.quota_warning, QuotaWarning):
        _check_warning(draft.quota_warning, report)
    check_accounts(draft.every_account, draft.accounts, report)
    check_budgets(draft.budgets, report)
    check_guard(draft.guard, report)
    _check_guard_models(draft, report)
    check_retrieval(draft.retrieval, report)
    _check_embedding(draft, report)


def warnings_of(catalogue: Catalogue) -> list[str]:
    """Reasons why a valid catalogue would fail in use, one sentence each."""
    found = []
    budgets = catalogue.budgets
    assumed = ASSUMED_OUTPUT_TOKENS if budgets is None else budgets.assumed_output_tokens
    for key, model in catalogue.models.items():
        limit = model.limits.tokens_per_minute
        starved = [
            name
            for name, role in catalogue.roles.items()
            if limit is not None and key in role.chain and limit < _output_tokens(role, assumed)
        ]
        if starved:
            found.append(
                f"{joined('models', key)}.limits.tokens_per_minute is {limit}, less than the output tokens reserved"
                f" for each request of {', '.join(starved)} without max_tokens ({assumed:,} unless the role says): the"
                f" model cannot serve them. Set parameters.max_tokens of the role, or raise the limit."
            )
    if budgets is not None and limits_money(budgets):
        found += _warnings_of_money_limits(catalogue, budgets)
    if catalogue.guard is not None:
        found += _warnings_of_waits(catalogue.guard)
    return found


def _warnings_of_money_limits(catalogue: Catalogue, budgets: Budgets) -> list[str]:
    found = []
    unpriced = [joined("models", key) for key, model in catalogue.models.items() if model.price is None]
    if unpriced and budgets.when_price_unknown == "refuse":
        found.append(
            f"{', '.join(unpriced)} have no price: a request that they may answer is refused under a"
            f" limit of money. Add price:, or set budgets.when_price_unknown to count_tokens."
        )
    return found


def _warnings_of_waits(guard: Guard) -> list[str]:
    slow = [
        f"guard.detectors.{name}.timeout_s"
        for name in DETECTORS
        if getattr(detector := getattr(guard.detectors, name), "enabled", True)
        and detector.timeout_s > guard.wait_s
    ]
    if not slow:
        return []
    text = (
        f"guard.wait_s is {guard.wait_s:g}, less than {', '.join(slow)}: workers do not wait for a verdict as long as"
        f" that. Raise it, or lower the time of the detector."
    )
    return [text]


def _output_tokens(role: RoleConfig, assumed: int) -> int:
    max_tokens = role.parameters.max_tokens or assumed
    return min(max_tokens, role.ceilings.max_tokens or max_tokens)


def _check_provider(provider: ProviderConfig, path: str, report: ProblemReport) -> None:
    _check_address(provider.base_url, f"{path}.base_url", report)
    if provider.ca_file == "":
        report.add(f"{path}.ca_file", "is empty", "name a PEM file, or leave it out")
    for index, name in _texts(provider.api_key_env):
        check_key_name(name, f"{path}.api_key_env[{index}]", report)
    _no_repeats(provider.api_key_env, f"{path}.api_key_env", report)
    if provider.quota_group == "":
        report.add(f"{path}.quota_group", "is empty", "name the group, or leave it out")
    check_parameter_mapping(
        provider.parameter_mapping, preset_mapping_of_provider(provider), f"{path}.parameter_mapping", report
    )


def _check_address(address: object, path: str, report: ProblemReport) -> None:
    if not isinstance(address, str):
        return
    if _USERINFO.match(address):
        problem = "contains a user name or a password, with which every request would fail"
        report.add(path, problem, "remove it, and name the variable of the key in api_key_env", quote=False)
    elif not _ADDRESS.match(address):
        report.add(path, "is not an address", "write http:// or https://, a host, and the port if any")
    elif route := _ROUTE.search(address):
        fix = f"write the part before {route[1]}"
        report.add(path, "is the address of one kind of request, and not of the API", fix)


def _check_guard_models(draft: Draft, report: ProblemReport) -> None:
    """Report what the detectors of the guard name outside their section."""
    path, detectors = "guard.detectors", getattr(draft.guard, "detectors", UNSET)
    moderation: Any = getattr(detectors, "openai_moderation", UNSET)
    _check_address(getattr(moderation, "base_url", UNSET), f"{path}.openai_moderation.base_url", report)
    check_key_name(getattr(moderation, "api_key_env", UNSET), f"{path}.openai_moderation.api_key_env", report)
    safety: Any = getattr(detectors, "safety_model", UNSET)
    if not _known(safety, "enabled", "role") or not safety.enabled or draft.role_names is None:
        return
    if safety.role not in draft.role_names:
        fix = define_or_use("roles", safety.role, draft.role_names)
        report.add(f"{path}.safety_model.role", "there is no role of that name", fix)


def _check_model(model: Model, key: str, draft: Draft, report: ProblemReport) -> None:
    path = joined("models", key)
    if (
        _known(model, "provider")
        and draft.provider_names is not None
        and model.provider not in draft.provider_names
    ):
        fix = define_or_use("providers", model.provider, draft.provider_names)
        report.add(f"{path}.provider", "there is no provider of that name", fix)
    if _known(model.limits, "kind", "requests_per_minute", "tokens_per_minute"):
        _check_kind(model.limits, f"{path}.limits", report)
    _check_models(model.fallbacks, f"{path}.fallbacks", draft, report)
    for index, name in _texts(model.fallbacks):
        if name == key:
            report.add(f"{path}.fallbacks[{index}]", "is the model itself", "remove it")
    provider = draft.providers.get(model.provider) if _known(model, "provider", "name") else None
    if provider is not None and _known(provider, "preset", "sdk", "parameter_mapping"):
        name = model.name or key
        check_parameter_mapping(
            model.parameter_mapping,
            preset_mapping_of_model(provider, name),
            f"{path}.parameter_mapping",
            report,
        )


def _check_kind(limits: Limits, path: str, report: ProblemReport) -> None:
    if (
        limits.kind == "token_bucket"
        and limits.requests_per_minute is None
        and limits.tokens_per_minute is None
    ):
        report.add(
            f"{path}.kind", "applies to limits per minute, and there is none", "add one, or remove kind"
        )


def _check_shared(draft: Draft, report: ProblemReport) -> None:
    """Report entries for one model with one quota that have different limits."""
    first: dict[tuple[str, str], str] = {}
    for key, model in draft.models.items():
        provider = draft.providers.get(model.provider)
        if provider is None:
            continue
        owner = model.provider if provider.quota_group is None else f"group {provider.quota_group}"
        other = first.setdefault((owner, model.name or key), key)
        if draft.models[other].limits != model.limits:
            report.add(
                joined("models", key, "limits"),
                f"differ from those of {joined('models', other)}, with which it shares one quota",
                "give both the same limits",
                quote=False,
            )


def _check_retry(retry: RetrySettings, path: str, report: ProblemReport) -> None:
    for cap in ("max_backoff_s", "batch_max_backoff_s"):
        if _known(retry, cap, "initial_backoff_s") and getattr(retry, cap) < retry.initial_backoff_s:
            report.add(
                f"{path}.{cap}",
                f"is below initial_backoff_s ({retry.initial_backoff_s:g})",
                "raise it, or lower initial_backoff_s",
            )


def _check_role_names(names: Collection[str], report: ProblemReport) -> None:
    for name in names:
        if not _ROLE.fullmatch(name):
            fix = "use at most 32 of a-z 0-9 _, beginning with a letter"
            report.add(joined("roles", name), "is not a valid role name", fix)
        elif name in RESERVED_ROLES:
            report.add(joined("roles", name), "is a reserved name", "choose another name for the role")
        elif name not in ROLES and (meant := _misspelt_role(name, names)):
            fix = f"write {meant}, if that is what you meant, or a name that is less alike"
            report.add(joined("roles", name), f"is like the shipped role {meant}, which is missing", fix)


def _misspelt_role(name: str, names: Collection[str]) -> str | None:
    missing = [role for role in ROLES if role not in names]
    return next(iter(difflib.get_close_matches(name, missing, n=1, cutoff=0.8)), None)


def _check_auto(auto: AutoRule | None, path: str, report: ProblemReport) -> None:
    if not isinstance(auto, AutoRule):
        return
    if auto.keywords == ():
        report.add(f"{path}.keywords", "is empty", "name at least one word, or leave auto out")
    for index, word in _texts(auto.keywords):
        if not re.search(r"\w", word):
            report.add(f"{path}.keywords[{index}]", "has no letter or digit", "write a word or a phrase")


def _check_role(role: RoleConfig, path: str, report: ProblemReport) -> None:
    _check_auto(role.auto, f"{path}.auto", report)
    _check_retry(role.retry, f"{path}.retry", report)
    _check_timeouts(role.timeouts, f"{path}.timeouts", report)
    _check_degradation(role.degradation, f"{path}.degradation", report)
    for field in Parameters.__struct_fields__:
        if not _known(role.parameters, field) or not _known(role.ceilings, field):
            continue
        own, ceiling = getattr(role.parameters, field), getattr(role.ceilings, field)
        if isinstance(own, int | float) and ceiling is not None and own > ceiling:
            fix = f"lower it, or raise {path}.ceilings.{field}"
            report.add(f"{path}.parameters.{field}", f"is above the role's own ceiling ({ceiling})", fix)


def _check_timeouts(timeouts: Timeouts, path: str, report: ProblemReport) -> None:
    if _known(timeouts, "batch_total_s") and LONGEST_S["batch"] < timeouts.batch_total_s < math.inf:
        problem = f"is longer than a request of the batch lane may wait ({LONGEST_S['batch']:,} s)"
        report.add(f"{path}.batch_total_s", problem, "lower it")
    if _known(timeouts, "first_token_s", "total_s") and timeouts.first_token_s > timeouts.total_s:
        report.add(
            f"{path}.first_token_s",
            f"the first token may take {timeouts.first_token_s:g} s, longer than the whole request"
            f" (total_s: {timeouts.total_s:g} s)",
            "lower first_token_s, or raise total_s",
        )


def _check_warning(warning: QuotaWarning, report: ProblemReport) -> None:
    if _known(warning, "warn_share") and warning.warn_share > 1:
        report.add(
            "quota_warning.warn_share", "is more than the whole limit", "write a share, as 0.9 for 90%"
        )
    if _known(warning, "warn_share", "clear_share") and warning.clear_share > warning.warn_share:
        fix = "lower it: the warning ends below it"
        report.add("quota_warning.clear_share", f"is above warn_share ({warning.warn_share:g})", fix)


def _check_chain(role: RoleConfig, path: str, draft: Draft, report: ProblemReport) -> None:
    if role.chain == ():
        report.add(path, "is empty", "name at least one model of models:")
    _check_models(role.chain, path, draft, report)


def _check_embedding(draft: Draft, report: ProblemReport) -> None:
    """Report chains whose models do not all answer chat requests, or do not all give the same vectors."""
    spaces = {name: _space(name, model) for name, model in draft.models.items()}
    chains = [(joined("roles", name, "chain"), role.chain) for name, role in draft.roles.items()]
    chains += [
        (joined("models", name, "fallbacks"), (name, *(each for _, each in _texts(model.fallbacks))))
        for name, model in draft.models.items()
    ]
    for path, chain in chains:
        if len({spaces[name] for _, name in _texts(chain) if name in spaces}) > 1:
            fix = "name only models that give the same vectors, with the same embedding.space"
            report.add(path, "mixes models whose answers cannot replace each other", fix)
    chat = draft.roles.get("chat")
    if chat is not None and any(spaces.get(name) is not None for _, name in _texts(chat.chain)):
        report.add("roles.chat.chain", "has an embedding model", "use it in the role embed")
    model = getattr(draft.retrieval, "embedding_model", None)
    if isinstance(model, str) and draft.model_names is not None and spaces.get(model) is None:
        known = [name for name, space in spaces.items() if space is not None]
        fix = f"name one of {', '.join(known)}" if known else "give a model the section embedding:"
        report.add("retrieval.embedding_model", "is not an embedding model of the catalogue", fix)


def _space(name: str, model: Model) -> str | None:
    """The vector space of the model; None: it answers chat requests."""
    if not isinstance(model.embedding, Embedding):
        return None
    return model.embedding.space or model.name or name


def _check_models(names: Iterable[object], path: str, draft: Draft, report: ProblemReport) -> None:
    if draft.model_names is not None:
        for index, name in _texts(names):
            if name not in draft.model_names:
                fix = define_or_use("models", name, draft.model_names)
                report.add(f"{path}[{index}]", "there is no model of that name", fix)
    _no_repeats(names, path, report)


def _check_vision(draft: Draft, report: ProblemReport) -> None:
    chain = draft.roles["vision"].chain
    known = [draft.models[name] for _, name in _texts(chain) if name in draft.models]
    if known and len(known) == len(chain) and all(model.supports_vision is False for model in known):
        fix = "add a model that has supports_vision: true, or leave the role out"
        report.add("roles.vision.chain", "no model of it can see images", fix)


def _check_degradation(section: object, path: str, report: ProblemReport) -> None:
    for name in ("on_high_latency", "on_errors"):
        rule: Any = getattr(section, name, UNSET)
        if _known(rule, "trigger_share", "clear_share") and rule.clear_share > rule.trigger_share:
            fix = "lower it: the rule ends at clear_share, after it began above trigger_share"
            report.add(f"{path}.{name}.clear_share", f"is above trigger_share ({rule.trigger_share:g})", fix)


def _known(struct: object, *fields: str) -> bool:
    """Whether all these fields could be read; UNSET stands for an unreadable field or struct."""
    return isinstance(struct, Struct) and all(getattr(struct, field) is not UNSET for field in fields)


def _texts(items: Iterable[object]) -> list[tuple[int, str]]:
    """The items of a list that could be read, each with its index."""
    known = items if isinstance(items, tuple) else ()
    return [(index, item) for index, item in enumerate(known) if isinstance(item, str)]


def _no_repeats(names: Iterable[object], path: str, report: ProblemReport) -> None:
    seen: set[str] = set()
    for index, name in _texts(names):
        if name in seen:
            report.add(f"{path}[{index}]", "is in this list twice", "remove one of the two")
        seen.add(name)
