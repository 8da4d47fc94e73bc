"""G2: what `penstock guard set` makes of a stored policy, and what is shown of the policies in force."""

from __future__ import annotations

from penstock.cli.guard.edit import GuardChange, changed_policy
from penstock.cli.guard.known_policies import KnownPolicies
from penstock.cli.render.guard import accounts_text, change_text, policy_text
from penstock.contract.guard.policies import EVERY, GuardPolicy
from tests.unit.runtime.config.example import RIGHT, load

SECTION = """\
guard:
  accounts:
    bank: {mode: before, output: {personal_data: redact}}
"""
STORED = GuardPolicy(
    account="shop",
    mode="before",
    input={"secrets": "block", "personal_data": "redact"},
    when_unavailable={"secrets": "allow"},
    restore=False,
    version=4,
    changed_by="ann",
    note="old",
)


def test_g2_what_is_not_named_stays_and_what_inherits_is_removed():
    change = GuardChange(
        mode="inherit",
        input={"secrets": "inherit", "personal_data/email": "block"},
        when_unavailable={"secrets": "inherit", "personal_data": "refuse"},
    )
    after = changed_policy(STORED, change)
    assert after == GuardPolicy(
        account="shop",
        input={"personal_data": "redact", "personal_data/email": "block"},
        when_unavailable={"personal_data": "refuse"},
        restore=False,
        version=4,
        changed_by="ann",
    )
    assert changed_policy(STORED, GuardChange(restore=True, note="new")).restore is True


def test_g2_an_action_of_one_direction_does_not_hide_that_of_the_other():
    change = GuardChange(input={"hate": "block", "violence": "allow"}, output={"hate": "inherit"})
    assert change.acts_on() == {"hate"}


def test_g2_each_setting_in_force_names_where_it_comes_from():
    records = {EVERY: GuardPolicy(account=EVERY, output={"secrets": "block"}, version=2), "bank": STORED}
    known = KnownPolicies(records, load(RIGHT + SECTION))
    sources, settings = known.sources("bank"), known.settings("bank")
    assert sources.keys() == settings.keys()
    assert (settings["mode"], sources["mode"]) == ("before", "own")
    assert (settings["output secrets"], sources["output secrets"]) == ("block", "every account")
    assert sources["output personal_data"] == "catalogue, account bank"
    assert sources["input prompt_injection"] == "catalogue"
    assert (settings["secrets unavailable"], sources["secrets unavailable"]) == ("allow", "own")
    assert "safety_model unavailable" not in settings
    shown = policy_text("bank", known)
    assert "Guard policy of account bank, version 4, changed by ann" in shown
    assert "(old)" in shown
    assert "bank" in accounts_text(known)
    assert "every account without its own, version 2" in policy_text(EVERY, known)


def test_g2_without_a_catalogue_only_records_are_shown():
    known = KnownPolicies({"shop": STORED}, None)
    assert known.in_force("shop") is None
    assert known.settings("shop")["input secrets"] == "block"
    assert "nothing of its own" in policy_text("other", known)
    assert accounts_text(KnownPolicies({}, None)) == "No account has a policy of its own."


def test_g2_a_change_is_shown_by_what_it_does_to_the_policy_in_force():
    assert change_text({"mode": "beside", "x": "1"}, {"mode": "off", "y": "2", "x": "1"}) == (
        "mode beside -> off, y not set -> 2"
    )
    assert change_text({"x": "1"}, {"x": "1"}) == "in force as before"
