"""G2: the section `guard`, and its mistakes with their place and fix."""
# ruff: noqa: E501 - a table is read by rows

from __future__ import annotations

import pytest

from penstock.cli.local.provider_checks import missing_key_notes
from penstock.runtime.config.checks import warnings_of
from penstock.runtime.config.guard import Guard
from penstock.runtime.config.printing import catalogue_yaml
from tests.unit.runtime.config.example import RIGHT, load, refused

SECTION = """\
guard:
  mode: before
  input: {personal_data: redact, personal_data/ip_address: allow, hate: block}
  restore: no
  detectors:
    safety_model: {enabled: true, role: chat}
    openai_moderation: {enabled: true, api_key_env: MODERATION_KEY}
  accounts:
    shop: {mode: off, output: {secrets: flag}}
"""


def guard(section: str) -> Guard:
    found = load(RIGHT + section).guard
    assert found is not None
    return found


def test_g2_without_the_section_there_is_no_guard():
    assert load(RIGHT).guard is None
    assert guard("guard: {}\n") == Guard()


def test_g2_policies_are_read_from_the_catalogue():
    found = guard(SECTION)
    assert (found.mode, found.restore, found.accounts["shop"].mode) == ("before", False, "off")
    assert found.input["personal_data/ip_address"] == "allow"


@pytest.mark.parametrize("written", ["off", '"off"'])
def test_g2_off_is_a_mode_with_and_without_quotes(written: str):
    assert guard(f"guard: {{mode: {written}}}\n").mode == "off"


@pytest.mark.parametrize(
    ("section", "line", "key", "problem", "fix"),
    [
        ("guard:\n", 1, "guard", "empty", "guard: {}"),
        ("guard: 4\n", 1, "guard", "a mapping", "mapping"),
        ("guard: {mode: of}\n", 1, "guard.mode", "one of", "off"),
        ("guard: {mode: on}\n", 1, "guard.mode", "must be text", "quotes"),
        ("guard:\n  input:\n    secret: block\n", 3, "guard.input.secret", "not a category", "write secrets"),
        ("guard: {input: {email: block}}\n", 1, "guard.input.email", "not a category", "write personal_data/email"),
        ("guard: {input: {personal_data/emial: block}}\n", 1, "guard.input.personal_data/emial", "not a category", "write personal_data/email"),
        ("guard: {output: {xyzzy: block}}\n", 1, "guard.output.xyzzy", "not a category", "secrets, personal_data"),
        ("guard: {output: {secrets: hide}}\n", 1, "guard.output.secrets", "one of", "redact"),
        ("guard: {input: {prompt_injection: redact}}\n", 1, "guard.input.prompt_injection", "cannot be redacted", "block"),
        ("guard: {accounts: {shop: {input: {violence: block}}}}\n", 1, "guard.accounts.shop.input.violence", "no enabled detector", "safety_model"),
        ("guard: {output: {self-harm/intent: flag}}\n", 1, "guard.output.self-harm/intent", "no enabled detector", "openai_moderation"),
        ("guard: {accounts: {a.b: {}}}\n", 1, 'guard.accounts."a.b"', "not a valid name", "A-Z"),
        ("guard: {accounts: {'*': {}}}\n", 1, "guard.accounts.*", "not a valid name", "above accounts"),
        ("guard: {accounts: {shop: {when_unavailable: {}}}}\n", 1, "guard.accounts.shop.when_unavailable", "no such key", ""),
        ("guard: {detectors: {safety_model: {enabled: true}}}\n", 1, "guard.detectors.safety_model.role", "no role", "chat"),
        ("guard: {detectors: {safety_model: {enabled: true, role: chta}}}\n", 1, "guard.detectors.safety_model.role", "no role", "write chat"),
        ("guard: {detectors: {secrets: {enabled: false}}}\n", 1, "guard.detectors.secrets.enabled", "no such key", ""),
        ("guard: {detectors: {openai_moderation: {base_url: 'https://a:b@x/v1'}}}\n", 1, "guard.detectors.openai_moderation.base_url", "password", "api_key_env"),
        ("guard: {detectors: {openai_moderation: {base_url: 'https://x/v1/moderations'}}}\n", 1, "guard.detectors.openai_moderation.base_url", "one kind of request", "before /moderations"),
        ("guard: {detectors: {openai_moderation: {base_url: here.example}}}\n", 1, "guard.detectors.openai_moderation.base_url", "not an address", "https"),
        ("guard: {detectors: {openai_moderation: {timeout_s: 0}}}\n", 1, "guard.detectors.openai_moderation.timeout_s", "more than 0", ""),
        ("guard: {moderation_window_characters: 10}\n", 1, "guard.moderation_window_characters", "from 100 to", "at once"),
    ],
)  # fmt: skip
def test_k6_a_mistake_in_the_guard_is_reported_with_its_place_and_fix(
    section: str, line: int, key: str, problem: str, fix: str
):
    found = {each.key: each for each in refused(RIGHT + section)}
    assert list(found) == [key]
    assert found[key].line == RIGHT.count("\n") + line
    assert problem in found[key].problem
    assert fix in found[key].fix


def test_k6_all_mistakes_of_the_section_are_reported_together():
    section = "guard: {mode: x, input: {hat: block, hate: block}, detectors: {safety_model: {enabled: 1}}}\n"
    found = {each.key for each in refused(RIGHT + section)}
    assert found == {"guard.mode", "guard.input.hat", "guard.detectors.safety_model.enabled"}


@pytest.mark.parametrize("written", ["sk-" + "a1" * 20, "two words", "9KEY"])
def test_k6_a_key_in_place_of_its_name_is_reported_and_not_shown(written: str):
    section = f"guard: {{detectors: {{openai_moderation: {{api_key_env: '{written}'}}}}}}\n"
    (problem,) = refused(RIGHT + section)
    assert problem.key == "guard.detectors.openai_moderation.api_key_env"
    assert written not in problem.as_line("x")


def test_k6_a_role_of_a_safety_model_that_is_not_enabled_need_not_exist():
    assert not guard("guard: {detectors: {safety_model: {role: later}}}\n").detectors.safety_model.enabled


def test_k6_a_printed_guard_is_valid_input_with_the_same_meaning_and_shows_whether_its_key_is_set():
    catalogue, key = load(RIGHT + SECTION), "0123456789abcdef"
    printed = catalogue_yaml(catalogue, {"MODERATION_KEY": key})
    assert load(printed) == catalogue
    assert "api_key_env: MODERATION_KEY  # set (ends …cdef)\n" in printed
    assert key not in printed


def test_g4_processes_with_another_guard_have_another_digest():
    digests = {load(RIGHT + section).digest() for section in ("", SECTION, "guard: {}\n")}
    assert len(digests) == 3


def test_g4_a_moderation_endpoint_without_a_key_is_noted():
    notes = missing_key_notes(load(RIGHT + SECTION), {"HERE_KEY": "k"})
    assert notes == ["Note: the moderation endpoint has no key: set MODERATION_KEY."]


@pytest.mark.parametrize(
    ("section", "warned"),
    [
        ("", False),
        ("guard: {}\n", False),
        ("guard: {wait_s: 3}\n", False),
        ("guard: {wait_s: 0.5}\n", True),
        ("guard: {wait_s: 4, detectors: {safety_model: {enabled: true, role: chat}}}\n", True),
    ],
)
def test_g4_a_detector_that_may_take_longer_than_workers_wait_is_warned_of(section: str, warned: bool):
    found = [text for text in warnings_of(load(RIGHT + section)) if "guard.wait_s" in text]
    assert bool(found) == warned
