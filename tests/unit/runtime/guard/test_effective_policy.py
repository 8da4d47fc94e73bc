"""G2: the guard policy in force for an account."""

from __future__ import annotations

import pytest

from penstock.contract.guard.policies import (
    CATEGORIES,
    DETECTORS,
    EVERY,
    GUARD_ACCOUNT,
    KINDS,
    GuardPolicy,
    is_subject_of_policy,
)
from penstock.runtime.config.guard import AccountGuard, Detectors, Guard, OpenAIModeration, SafetyModel
from penstock.runtime.guard.effective_policy import (
    detectors_of,
    effective_policy,
    strongest,
)

ALL = Detectors(safety_model=SafetyModel(enabled=True), openai_moderation=OpenAIModeration(enabled=True))


def test_g2_the_more_specific_layer_decides_and_the_others_stay() -> None:
    config = Guard(
        input={"personal_data": "flag", "secrets": "block"},
        accounts={"shop": AccountGuard(mode="before", input={"personal_data/email": "redact"})},
    )
    records = {
        EVERY: GuardPolicy(account=EVERY, input={"secrets": "flag"}, restore=False, version=2),
        "shop": GuardPolicy(account="shop", input={"personal_data": "allow"}, version=7),
    }
    shop, other = (effective_policy(config, account, records) for account in ("shop", "other"))
    assert (shop.mode, shop.restore, shop.version) == ("before", False, 7)
    assert shop.action("input", "personal_data", "email") == "redact"
    assert shop.action("input", "personal_data", "phone") == "allow"
    assert shop.action("input", "secrets", "jwt") == "flag"
    assert (other.mode, other.version) == ("beside", 2)
    assert other.action("input", "personal_data", "email") == "flag"


def test_g1_only_detectors_that_the_policy_uses_are_asked() -> None:
    config = Guard(detectors=ALL, input={"secrets": "flag"}, output={"personal_data/email": "redact"})
    policy = effective_policy(config, "a", {})
    assert policy.detectors("input") == ("secrets",)
    assert policy.detectors("output") == ("personal_data",)
    assert policy.redacts("output")
    assert not policy.redacts("input")
    hate = effective_policy(Guard(detectors=ALL, input={"hate": "block"}), "a", {})
    assert hate.detectors("input") == ("safety_model", "openai_moderation")
    off = effective_policy(Guard(mode="off", detectors=ALL), "a", {})
    assert off.detectors("input") == ()
    assert not off.redacts("output")


def test_g2_a_detector_that_is_not_enabled_is_not_asked_and_refuses_nothing() -> None:
    records = {
        "a": GuardPolicy(account="a", input={"hate": "block"}, when_unavailable={"safety_model": "refuse"})
    }
    policy = effective_policy(Guard(), "a", records)
    assert "safety_model" not in policy.detectors("input")
    assert not policy.fails_closed("input", ("safety_model",))
    enabled = effective_policy(Guard(detectors=ALL), "a", records)
    assert enabled.fails_closed("input", ("safety_model",))
    assert not enabled.fails_closed("input", ("openai_moderation",))


@pytest.mark.parametrize("category", CATEGORIES)
def test_g1_every_category_has_a_detector_and_can_have_an_action(category: str) -> None:
    assert is_subject_of_policy(category)
    assert any(detectors_of(detector, {category}) for detector in DETECTORS)


def test_g1_kinds_can_have_an_action_and_other_names_cannot() -> None:
    for category, kinds in KINDS.items():
        assert all(is_subject_of_policy(f"{category}/{kind}") for kind in kinds)
    assert not any(map(is_subject_of_policy, ("", "email", "personal_data/", "hate/email", "secrets/email")))


def test_the_strongest_action_decides() -> None:
    assert strongest(()) == "allow"
    assert strongest(("flag", "block", "redact")) == "block"
    assert strongest(("flag", "redact")) == "redact"


def test_the_account_of_the_guard_can_be_a_token_of_a_subject() -> None:
    assert GUARD_ACCOUNT.replace("-", "").isalnum()


def test_g2_a_detector_whose_findings_are_only_flagged_refuses_nothing() -> None:
    config = Guard(
        input={"secrets": "flag", "personal_data": "flag", "personal_data/email": "redact"},
        output={"secrets": "block"},
    )
    policy = effective_policy(config, "a", {})
    assert not policy.fails_closed("input", ("secrets",))
    assert policy.fails_closed("input", ("secrets", "personal_data"))
    assert policy.fails_closed("output", ("secrets",))
