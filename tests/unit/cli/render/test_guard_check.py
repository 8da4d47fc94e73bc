"""G1: what `penstock guard try` prints of a verdict."""

from __future__ import annotations

from penstock.cli.render.guard import change_text, history_text, verdicts_text
from penstock.cli.render.guard_check import place_of, verdict_text
from penstock.contract.events import GuardDecided, GuardPolicyChanged
from penstock.contract.guard.checks import DetectorFailure, Finding, GuardVerdict
from penstock.contract.guard.policies import EVERY, GuardPolicy

TEXT = "Hi,\nwrite to ann@example.org\x1b]0;\n"
EMAIL = Finding(
    start=13, end=32, category="personal_data", kind="email", detector="personal_data", action="redact"
)
WHOLE = Finding(category="prompt_injection", detector="prompt_injection", score=0.914, action="block")


def test_g1_a_place_is_a_line_and_a_column_of_the_text():
    assert place_of(TEXT, EMAIL) == (2, 10)
    assert place_of("abc", Finding(start=0, end=1, category="secrets", detector="secrets")) == (1, 1)
    assert place_of(TEXT, WHOLE) is None


def test_g1_each_finding_has_its_place_detector_score_and_action():
    verdict = GuardVerdict(
        id="",
        action="block",
        findings=(WHOLE, EMAIL),
        failures=(DetectorFailure(detector="safety_model", why="timeout", refuses=True),),
        language="en",
        policy_version=3,
        elapsed_ms=3.21,
        guard="guard-1",
    )
    *rows, failure, summary = verdict_text(TEXT, verdict).splitlines()
    assert rows[2].split() == [
        "prompt_injection",
        *["whole", "text", "-", "prompt_injection", "0.91", "block"],
    ]
    assert rows[3].split() == [
        "personal_data/email",
        "2:10",
        "ann@example.org\\x1b]0;",
        "personal_data",
        "1.00",
        "redact",
    ]
    assert failure == "not checked by safety_model (timeout): the policy refuses what it has not checked"
    assert summary == "2 findings: block, policy version 3, language en, 3.2 ms by guard-1"


def test_g1_a_finding_without_a_policy_has_no_action():
    verdict = GuardVerdict(id="", action="flag", findings=(EMAIL,), elapsed_ms=3.21, guard="guard-1")
    *_, row, _, summary = verdict_text(TEXT, verdict, apply_policy=False).splitlines()
    assert row.split()[-2:] == ["1.00", "-"]
    assert summary == "1 finding: no policy applied (--account applies one), 3.2 ms by guard-1"


def test_g1_a_verdict_without_findings_says_so():
    assert verdict_text("a", GuardVerdict(id="", action="allow", elapsed_ms=0.4)) == (
        "nothing found: allow, 0.4 ms by a guard"
    )


def test_g1_stored_decisions_are_listed_without_content():
    decided = GuardDecided(
        id="r1",
        account="shop",
        user="ann\x1b",
        direction="input",
        action="flag",
        findings={"personal_data/email": 2, "prompt_injection": 1},
        unchecked_by=("safety_model",),
        refused=True,
        elapsed_ms=12.6,
    )
    row = verdicts_text([decided]).splitlines()[2]
    for part in ("shop", "ann\\x1b", "input", "refuse", "personal_data/email x2, prompt_injection", "13  r1"):
        assert part in row
    assert "nothing" in verdicts_text([])


def test_g2_a_change_of_a_kind_tells_the_action_of_its_category():
    before = {"input personal_data": "redact", "input hate": "flag"}
    after = before | {"input personal_data/email": "allow", "input hate/threatening": "block"}
    assert change_text(before, after) == (
        "input personal_data/email redact (personal_data) -> allow, input hate/threatening not set -> block"
    )
    assert change_text(after, before).startswith("input personal_data/email allow -> redact (personal_data)")


def test_g2_the_history_shows_both_sides_of_each_change():
    after = GuardPolicy(account=EVERY, mode="off", output={"hate": "block"}, note="why")
    shown = history_text([GuardPolicyChanged(before=None, after=after, changed_by="ann", at_ms=0)])
    assert shown.splitlines() == [
        "1970-01-01 00:00:00  ann  guard policy of every account  (why)",
        "    before: nothing of its own",
        "    after:  mode off, output hate block",
    ]
    assert history_text([]).startswith("No guard policy was changed")
