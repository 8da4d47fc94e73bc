"""The report on a key that does not exist, and the keys of earlier versions that have a new name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from penstock.runtime.config.budgets.amounts import DOLLAR_LIMITS
from penstock.runtime.config.budgets.section import Budgets, TrafficBudget
from penstock.runtime.config.catalogue import (
    Batch,
    Breaker,
    Catalogue,
    Model,
    ProviderConfig,
    RetrySettings,
    RoleConfig,
    Timeouts,
)
from penstock.runtime.config.degradation import OnErrors, OnHighLatency, QuotaWarning
from penstock.runtime.config.guard import Guard
from penstock.runtime.config.problems import ProblemReport, joined, nearest
from penstock.runtime.config.retrieval import Retrieval
from penstock.runtime.config.routing import Routing
from penstock.runtime.struct_fields import fields_of

__all__ = ["RENAMED_KEYS", "report_unknown_key", "sections_with"]

_ALARM: Final = {
    "share": ("trigger_share",),
    "calm_share": ("clear_share",),
    "at_least": ("min_calls",),
    "hold_s": ("min_duration_s",),
}
RENAMED_KEYS: Final[Mapping[type[Struct], Mapping[str, tuple[str, ...]]]] = {
    Batch: {"reserve": ("reserve_share",), "patience_s": ("starvation_timeout_s",)},
    Breaker: {
        "failures": ("failure_threshold",),
        "longest_open_s": ("max_open_s",),
        "successes": ("success_threshold",),
    },
    Catalogue: {"sit_out_s": ("provider_cooldown_s", "credential_cooldown_s")},
    Model: {"takes": ("parameter_mapping",), "vision": ("supports_vision",)},
    OnErrors: {**_ALARM, "messages": ("keep_messages",)},
    OnHighLatency: {**_ALARM, "cut": ("reduce_by",)},
    ProviderConfig: {"takes": ("parameter_mapping",)},
    QuotaWarning: {"calm_share": ("clear_share",), "calm_s": ("clear_s",)},
    RetrySettings: {
        "base_s": ("initial_backoff_s",),
        "batch_cap_s": ("batch_max_backoff_s",),
        "cap_s": ("max_backoff_s",),
        "same_model": ("same_model_retries",),
    },
    RoleConfig: {
        "batch_concurrency": ("batch_slots_per_worker",),
        "by_complexity": ("order_by_complexity",),
        "concurrency": ("slots_per_worker",),
        "wait_s": ("max_model_wait_s",),
    },
    Routing: {"complex_characters": ("simple_max_characters",)},
    Timeouts: {"whole_s": ("non_streaming_s",)},
}
"""Per section the keys of version 0.1.0 that have new names; a key with two meanings became two."""


_SAME_WORD: Final = 0.85
"""Similarity (difflib ratio) from which on a key counts as a misspelt section."""
_SECTIONS: Final[Mapping[str, type[Struct]]] = {
    "providers.<name>": ProviderConfig,
    "models.<name>": Model,
    "roles.<name>": RoleConfig,
    "budgets": Budgets,
    "guard": Guard,
    "retrieval": Retrieval,
}


def report_unknown_key(report: ProblemReport, path: str, key: str, kind: Any, known: Collection[str]) -> None:
    """Report `key`, which the section `kind` at `path` does not have beside the `known` ones.

    Its value is not quoted: it may be a secret, as in `api_key: sk-…`.
    """
    place = joined(path, key)
    renamed = RENAMED_KEYS.get(kind, {}).get(key)
    if renamed is not None:
        report.add(place, "has a new name", f"write {' and '.join(renamed)}")
        return
    if isinstance(kind, type) and issubclass(kind, TrafficBudget):
        known = _in_dollars(key, known)
    report.hide_values(place)
    if kind is Catalogue and (sections := sections_with(key)):
        fix = f"write it under {' or '.join(sections)}"
        report.add(place, "is not a key of the whole catalogue", fix, quote=False)
        return
    report.add(place, "there is no such key", nearest(key, known), quote=False)


def sections_with(key: str) -> list[str]:
    """The sections of a catalogue that have `key`; empty for a key of the catalogue itself, also a misspelt one,
    as `provider` for `providers`.
    """
    own = _keys_of(Catalogue)
    if key in RENAMED_KEYS[Catalogue] or difflib.get_close_matches(key, own, n=1, cutoff=_SAME_WORD):
        return []
    return [section for section, kind in _SECTIONS.items() if key in _keys_of(kind)]


def _keys_of(kind: type[Struct]) -> set[str]:
    return {field.encode_name for field in fields_of(kind)}


def _in_dollars(key: str, known: Collection[str]) -> list[str]:
    """Limits of money as they are meant: an amount of dollars under the name of micro-dollars is a millionth."""
    if key.startswith("micro"):
        return list(known)
    return [*DOLLAR_LIMITS, *(name for name in known if name not in DOLLAR_LIMITS.values())]
