"""A key of an earlier version is reported with its new name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from msgspec import Struct

from penstock.runtime.config.unknown_keys import RENAMED_KEYS
from penstock.runtime.struct_fields import fields_of
from tests.unit.runtime.config.example import RIGHT, refused

SECTIONS: dict[str, tuple[str, ...]] = {
    "Batch": ("batch",),
    "Breaker": ("breaker",),
    "Catalogue": (),
    "Model": ("models", "large"),
    "OnErrors": ("degradation", "on_errors"),
    "OnHighLatency": ("degradation", "on_high_latency"),
    "ProviderConfig": ("providers", "here"),
    "QuotaWarning": ("quota_warning",),
    "RetrySettings": ("roles", "chat", "retry"),
    "RoleConfig": ("roles", "chat"),
    "Routing": ("routing",),
    "Timeouts": ("roles", "chat", "timeouts"),
}
"""Where each section with renamed keys stands in a catalogue."""
OLD_KEYS = [(kind, old) for kind, keys in RENAMED_KEYS.items() for old in keys]


def with_entry(path: tuple[str, ...], value: object) -> str:
    data = yaml.safe_load(RIGHT)
    section: Any = data
    for part in path[:-1]:
        section = section.setdefault(part, {})
    section[path[-1]] = value
    return yaml.safe_dump(data)


@pytest.mark.parametrize(("kind", "old"), OLD_KEYS, ids=[f"{kind.__name__}.{old}" for kind, old in OLD_KEYS])
def test_an_old_key_is_reported_with_its_new_name(kind: type[Struct], old: str) -> None:
    path = (*SECTIONS[kind.__name__], old)
    (problem,) = refused(with_entry(path, 1))
    assert (problem.key, problem.problem) == (".".join(path), "has a new name")
    assert problem.fix == f"write {' and '.join(RENAMED_KEYS[kind][old])}"


@pytest.mark.parametrize("kind", RENAMED_KEYS, ids=lambda kind: kind.__name__)
def test_new_names_exist_and_old_ones_do_not(kind: type[Struct]) -> None:
    keys = {field.encode_name for field in fields_of(kind)}
    assert keys.isdisjoint(RENAMED_KEYS[kind])
    assert keys.issuperset(new for names in RENAMED_KEYS[kind].values() for new in names)


def test_a_renamed_key_reads_as_one_sentence() -> None:
    (problem,) = refused(f"{RIGHT}sit_out_s: 5\n")
    assert problem.as_line("mine.yaml") == (
        "mine.yaml:18: sit_out_s = 5: has a new name. Fix: write provider_cooldown_s and credential_cooldown_s."
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("usd_per_dya", "usd_per_day"),
        ("dollars_per_month", "usd_per_month"),
        ("microusd_per_dya", "microusd_per_day"),
    ],
)
def test_f3_a_misspelled_limit_of_money_keeps_its_unit(written: str, meant: str) -> None:
    (problem,) = refused(RIGHT + f"budgets: {{every_user: {{{written}: 3}}}}\n")
    assert problem.fix.startswith(f"write {meant},")


def test_a_misspelled_section_hides_no_other_mistake() -> None:
    """Neither those inside it nor those of what refers to it, and it is not called missing as well."""
    wrong = RIGHT.replace("providers:", "provider:", 1).replace("[HERE_KEY]", "HERE_KEY")
    wrong = wrong.replace("provider: here\n    limits", "provider: heer\n    limits")
    assert [(each.line, each.key, each.problem) for each in refused(wrong)] == [
        (2, "provider", "there is no such key"),
        (5, "provider.here.api_key_env", "must be a list, and this is text"),
        (11, "models.small.provider", "there is no provider of that name"),
    ]


def test_a_section_that_is_there_is_not_replaced_by_one_that_is_like_it() -> None:
    (problem,) = refused(f"{RIGHT}provider: {{}}\n")
    assert (problem.key, problem.problem) == ("provider", "there is no such key")


def test_the_advice_names_the_section_that_is_read() -> None:
    """`accounts` is more like the key, and is there already: the key is read as the other one."""
    problems = refused(f"{RIGHT}accounts: {{}}\naccount:\n  requests: 5\n")
    (advice, inside) = [each for each in problems if each.key.startswith("account")]
    assert (advice.key, advice.problem) == ("account", "there is no such key")
    assert advice.fix.startswith("write every_account,")
    assert inside.key.startswith("account.")


@pytest.mark.parametrize(
    ("entry", "sections"),
    [
        ("every_user: {usd_per_day: 3}", "budgets"),
        ("retry: {max_attempts: 2}", "roles.<name>"),
        ("timeouts: {total_s: 60}", "roles.<name>"),
        ("limits: {requests_per_minute: 3}", "models.<name>"),
        ("base_url: https://here.example/v1", "providers.<name>"),
        ("parameter_mapping: {top_k: false}", "providers.<name> or models.<name>"),
    ],
)
def test_a_key_outside_its_section_is_reported_once_with_the_section(entry: str, sections: str) -> None:
    (problem,) = refused(f"{RIGHT}{entry}\n")
    assert (problem.problem, problem.fix) == (
        "is not a key of the whole catalogue",
        f"write it under {sections}",
    )
