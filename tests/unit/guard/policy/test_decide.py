"""G1, G2, G6: the verdict on findings, by the policy of the account."""

from __future__ import annotations

from typing import Any

from penstock.contract.guard.checks import MAX_CHECK_TEXTS, CheckedText, DetectorFailure, Finding, GuardCheck
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import EffectivePolicy, effective_policy
from services.guard.detectors.detector import Detection
from services.guard.detectors.outcome import Outcome
from services.guard.policy.decide import decide

REDACTING = {"personal_data": "redact", "secrets": "redact", "hate": "block", "violence": "flag"}


def policy(**actions: Any) -> EffectivePolicy:
    return effective_policy(Guard(input=actions or REDACTING, output={}), "shop", {})


def check(*texts: CheckedText | str, **fields: Any) -> GuardCheck:
    made = tuple(CheckedText(text=text) if isinstance(text, str) else text for text in texts)
    return GuardCheck(id="1", account="shop", texts=made, **fields)


def personal(start: int, end: int, kind: str = "email", **fields: Any) -> Finding:
    return Finding(
        start=start, end=end, category="personal_data", kind=kind, detector="personal_data", **fields
    )


def secret(start: int, end: int, kind: str = "jwt", **fields: Any) -> Finding:
    return Finding(start=start, end=end, category="secrets", kind=kind, detector="secrets", **fields)


def found(*findings: Finding, **fields: Any) -> Outcome:
    return Outcome((Detection(findings, **fields),))


def test_g1_nothing_found_is_allowed():
    verdict = decide(check("a", detectors=()), policy(), Outcome())
    assert (verdict.id, verdict.action, verdict.findings, verdict.failures) == ("1", "allow", (), ())
    assert not verdict.refuses


def test_g2_a_kind_goes_before_its_category_and_what_is_allowed_is_left_out():
    rules = policy(
        **{"personal_data": "flag", "personal_data/email": "redact", "personal_data/phone": "allow"}
    )
    outcome = found(personal(0, 2), personal(3, 5, "phone"), personal(6, 8, "iban"))

    verdict = decide(check("01 34 67 9"), rules, outcome)

    assert [(each.kind, each.action) for each in verdict.findings] == [("email", "redact"), ("iban", "flag")]
    assert verdict.action == "redact"


def test_g1_the_strongest_action_is_that_of_the_verdict():
    hate = Finding(category="hate", detector="safety_model", score=0.9)
    verdict = decide(check("some text"), policy(), found(personal(0, 4), hate, scores={"sexual": 0.1}))
    assert verdict.action == "block"
    assert verdict.scores == {"sexual": 0.1, "personal_data": 1.0, "hate": 0.9}


def test_g1_without_a_policy_everything_is_reported():
    outcome = found(personal(0, 4), Finding(category="sexual", detector="safety_model"))
    failed = Outcome(outcome.detections, {"secrets": "timeout"})
    verdict = decide(check("some text", apply_policy=False), policy(), failed)
    assert [each.action for each in verdict.findings] == ["flag", "flag"]
    assert not verdict.refuses


def test_g6_overlapping_redactions_become_one_under_the_name_of_the_longest():
    outcome = found(
        secret(10, 40, "url_password"), personal(20, 45), personal(50, 55), personal(55, 60, "phone")
    )
    verdict = decide(check("x" * 80), policy(), outcome)
    assert [(each.start, each.end, each.kind) for each in verdict.findings] == [
        (10, 45, "url_password"),
        (50, 55, "email"),
        (55, 60, "phone"),
    ]


def test_g6_of_two_findings_at_one_place_the_secret_names_it():
    verdict = decide(check("x" * 80), policy(), found(personal(0, 9), secret(0, 9)))
    assert [each.name for each in verdict.findings] == ["secrets/jwt"]


def test_g6_redactions_in_different_texts_stay_apart():
    verdict = decide(check("x" * 9, "y" * 9), policy(), found(personal(0, 9), personal(0, 9, text=1)))
    assert [(each.text, each.start, each.end) for each in verdict.findings] == [(0, 0, 9), (1, 0, 9)]


def test_g3_findings_in_the_context_are_not_reported_and_one_that_begins_in_it_is_cut():
    text = CheckedText(text="0123456789", start=4)
    verdict = decide(check(text), policy(), found(personal(0, 4), personal(2, 7), personal(8, 9, "iban")))
    assert [(each.start, each.end) for each in verdict.findings] == [(4, 7), (8, 9)]


def test_g3_a_text_that_is_only_context_has_no_finding():
    text = CheckedText(text="0123", start=4)
    hate = Finding(category="hate", detector="safety_model")
    assert decide(check(text), policy(), found(hate)).action == "allow"


def test_g6_a_redaction_without_a_place_covers_the_text():
    verdict = decide(check(CheckedText(text="0123456789", start=3)), policy(), found(secret(0, 0)))
    assert [(each.start, each.end) for each in verdict.findings] == [(3, 10)]


def test_g1_harmful_content_cannot_be_redacted_and_is_blocked():
    outcome = found(Finding(category="sexual", detector="safety_model"))
    assert decide(check("a"), policy(sexual="redact"), outcome).action == "block"


def test_g2_a_failed_detector_refuses_where_the_policy_says_so():
    outcome = Outcome((), {"secrets": "timeout", "safety_model": "no quota"})
    verdict = decide(check("a"), policy(), outcome)
    assert verdict.failures == (
        DetectorFailure(detector="secrets", why="timeout", refuses=True),
        DetectorFailure(detector="safety_model", why="no quota", refuses=False),
    )
    assert verdict.refuses


def test_g1_the_language_is_that_of_the_last_text_of_the_user():
    texts = (
        CheckedText(text="You are helpful", origin="system"),
        CheckedText(text="Как дела сегодня?"),
        CheckedText(text="Fine", origin="assistant"),
    )
    assert decide(check(*texts), policy(), Outcome()).language == "ru"
    assert decide(check(texts[0]), policy(), Outcome()).language == ""


def test_g6_a_verdict_is_bounded_and_no_redaction_is_lost():
    places = [(start, start + 2) for start in range(0, 60_000, 4)]
    verdict = decide(check("x" * 60_000), policy(), found(*(personal(*place) for place in places)))
    assert len(verdict.findings) == MAX_CHECK_TEXTS
    covered = {at for each in verdict.findings for at in range(each.start, each.end)}
    assert all(at in covered for place in places for at in range(*place))


def test_g6_a_redaction_of_each_text_of_the_largest_check_leaves_no_room_for_other_findings():
    texts = [CheckedText(text="an address")] * MAX_CHECK_TEXTS
    redacted = [personal(0, 2, text=number) for number in range(MAX_CHECK_TEXTS)]
    flags = [Finding(category="violence", detector="safety_model", text=number) for number in range(6_000)]
    verdict = decide(check(*texts), policy(), found(*redacted, *flags))
    assert [each.text for each in verdict.findings] == list(range(MAX_CHECK_TEXTS))
    assert {each.action for each in verdict.findings} == {"redact"}


def test_g1_of_too_many_findings_the_strongest_stay():
    flags = [
        Finding(category="violence", detector="safety_model", start=at, end=at + 1) for at in range(12_000)
    ]
    blocked = Finding(category="hate", detector="safety_model")
    verdict = decide(check("x" * 12_000), policy(), found(*flags, blocked))
    assert verdict.action == "block"
    assert len(verdict.findings) == MAX_CHECK_TEXTS
    assert "hate" in {each.category for each in verdict.findings}
