"""G6: redacting by a verdict removes every finding that the policy redacts, and nothing else but what they cover."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.guard.checks import CheckedText, Finding, GuardCheck
from penstock.contract.guard.policies import ACTIONS
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import effective_policy, strongest
from services.guard.detectors.detector import Detection
from services.guard.detectors.outcome import Outcome
from services.guard.policy.decide import decide

NAMES = [
    ("secrets", "jwt"),
    ("secrets", "url_password"),
    ("personal_data", "email"),
    ("personal_data", "iban"),
]


@st.composite
def checks(draw: st.DrawFn) -> tuple[GuardCheck, list[Finding]]:
    texts = []
    findings = []
    for index in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, 60))
        texts.append(CheckedText(text="x" * length, start=draw(st.integers(0, length))))
        for _ in range(draw(st.integers(0, 8))):
            start = draw(st.integers(0, length - 1))
            end = draw(st.integers(start + 1, length))
            category, kind = draw(st.sampled_from(NAMES))
            findings.append(
                Finding(text=index, start=start, end=end, category=category, kind=kind, detector=category)
            )
    return GuardCheck(id="1", account="a", texts=tuple(texts)), findings


actions = st.dictionaries(
    st.sampled_from(["secrets", "personal_data", *(f"{category}/{kind}" for category, kind in NAMES)]),
    st.sampled_from(ACTIONS),
)


@given(checks(), actions)
def test_g6_the_redactions_are_apart_and_cover_exactly_what_the_policy_redacts(drawn, input_):
    check, findings = drawn
    policy = effective_policy(Guard(input=input_), "a", {})

    verdict = decide(check, policy, Outcome((Detection(tuple(findings)),)))

    def action(finding: Finding) -> str:
        return policy.action("input", finding.category, finding.kind)

    inside = [each for each in findings if each.end > check.texts[each.text].start]
    wanted = {
        (each.text, at)
        for each in inside
        if action(each) == "redact"
        for at in range(max(each.start, check.texts[each.text].start), each.end)
    }
    redactions = [each for each in verdict.findings if each.action == "redact"]
    covered = [(each.text, at) for each in redactions for at in range(each.start, each.end)]
    assert len(covered) == len(set(covered))
    assert set(covered) == wanted
    assert verdict.action == strongest(tuple(action(each) for each in inside))
    assert all(each.action != "allow" for each in verdict.findings)
    places = [(each.text, each.start, each.end) for each in verdict.findings]
    assert places == sorted(places)
