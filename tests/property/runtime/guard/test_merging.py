"""G2: whatever the configuration and the records say, the most specific of them that names a setting decides it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.guard.edit import GuardChange, changed_policy
from penstock.contract.guard.policies import ACTIONS, EVERY, GuardPolicy
from penstock.runtime.config.guard import AccountGuard, Guard
from penstock.runtime.guard.effective_policy import effective_policy

NAMES = ("secrets", "personal_data", "personal_data/email", "prompt_injection")
DETECTORS = ("secrets", "personal_data", "prompt_injection", "safety_model")
actions = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ACTIONS))
modes = st.sampled_from(("before", "beside", "off"))
flags = st.booleans()


def policies(account: str) -> st.SearchStrategy[GuardPolicy]:
    return st.builds(
        GuardPolicy,
        account=st.just(account),
        mode=st.none() | modes,
        input=actions,
        output=actions,
        when_unavailable=st.dictionaries(st.sampled_from(DETECTORS), st.sampled_from(("allow", "refuse"))),
        restore=st.none() | flags,
        version=st.integers(1, 9),
    )


entries = st.builds(
    AccountGuard, mode=st.none() | modes, input=actions, output=actions, restore=st.none() | flags
)
guards = st.builds(
    Guard,
    mode=modes,
    input=actions,
    output=actions,
    restore=flags,
    accounts=st.dictionaries(st.just("shop"), entries),
)


@given(guards, st.none() | policies("shop"), st.none() | policies(EVERY))
def test_g2_the_most_specific_layer_that_names_a_setting_decides_it(
    config: Guard, own: GuardPolicy | None, every: GuardPolicy | None
):
    records = {each.account: each for each in (own, every) if each is not None}
    policy = effective_policy(config, "shop", records)
    layers = [each for each in (own, every, config.accounts.get("shop"), config) if each is not None]
    assert policy.mode == next(each.mode for each in layers if each.mode is not None)
    assert policy.restore == next(each.restore for each in layers if each.restore is not None)
    for direction in ("input", "output"):
        for name in NAMES:
            said = [getattr(each, direction)[name] for each in layers if name in getattr(each, direction)]
            assert policy.actions(direction).get(name) == (said[0] if said else None)
    for detector in DETECTORS[:3]:
        said = [
            each.when_unavailable[detector]
            for each in (own, every)
            if each and detector in each.when_unavailable
        ]
        assert policy.when_unavailable[detector] == (said[0] if said else "refuse")
    assert "safety_model" not in policy.when_unavailable, "it is not enabled"


@given(policies("shop"), policies("shop"))
def test_g2_setting_what_another_policy_says_and_inheriting_the_rest_gives_that_policy(
    before: GuardPolicy, wanted: GuardPolicy
):
    def inherited(name: str) -> dict[str, str]:
        return {**dict.fromkeys(getattr(before, name), "inherit"), **getattr(wanted, name)}

    change = GuardChange(
        mode=wanted.mode or "inherit",
        input=inherited("input"),
        output=inherited("output"),
        when_unavailable=inherited("when_unavailable"),
        restore=wanted.restore,
    )
    after = changed_policy(before, change)
    assert (after.mode, after.input, after.output) == (wanted.mode, wanted.input, wanted.output)
    assert after.when_unavailable == wanted.when_unavailable
    assert after.restore == (before.restore if wanted.restore is None else wanted.restore)
    assert changed_policy(after, GuardChange()) == after
