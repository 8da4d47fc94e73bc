"""G1: labelled sets of users, and precision and recall on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.cli.errors import CommandError
from penstock.cli.guard.accuracy import Counts, Mistake, measured, searched_names
from penstock.cli.guard.labelled_set import Example, read_labelled_set
from penstock.cli.render.guard_check import accuracy_text
from penstock.contract.guard.checks import DetectorFailure, Finding, GuardVerdict
from penstock.contract.guard.policies import DetectorName


def labelled(tmp_path: Path, *lines: object) -> list[Example]:
    file = tmp_path / "set.jsonl"
    file.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
    return read_labelled_set(file)


def verdict(*findings: tuple[str, int, int], failure: DetectorName | None = None) -> GuardVerdict:
    found = []
    for name, start, end in findings:
        category, _, kind = name.partition("/")
        found.append(Finding(category=category, kind=kind, start=start, end=end, detector="secrets"))
    failures = () if failure is None else (DetectorFailure(detector=failure, why="timeout"),)
    return GuardVerdict(id="", action="flag", findings=tuple(found), failures=failures)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "truncated"),
        ('"text"', "Expected `object`"),
        ({"kinds": []}, "missing required field `text`"),
        ({"text": 3, "kinds": []}, "$.text"),
        ({"text": "a"}, "exactly one of findings, kinds and label"),
        ({"text": "a", "kinds": [], "label": "harmless"}, "exactly one of"),
        ({"text": "a", "label": "jailbreak"}, "jailbreak"),
        ({"text": "a", "kinds": ["emial"]}, "'emial' is not a kind of findings: write email"),
        ({"text": "a", "kinds": ["personal_data"]}, "'personal_data' is not a kind"),
        ({"text": "abc", "findings": [{"start": 1, "end": 4, "kind": "email"}]}, "no characters 1 to 4"),
        ({"text": "abc", "findings": [{"start": 2, "end": 2, "kind": "email"}]}, "no characters 2 to 2"),
        ({"text": "abc", "findings": [{"start": 2, "kind": "email"}]}, "`end`"),
        ({"text": "x" * (1024 * 1024 + 1), "kinds": []}, "longer than 1 MiB"),
        ({"text": "a", "kinds": [], "origin": "web"}, "$.origin"),
        ('{"text": "\\ud800", "kinds": []}', ""),
    ],
)
def test_g1_a_bad_line_is_reported_with_its_number(tmp_path: Path, line: object, reason: str):
    with pytest.raises(CommandError) as caught:
        labelled(tmp_path, {"text": "a", "kinds": []}, "", line)
    assert f"{tmp_path}/set.jsonl:3: " in str(caught.value)
    assert reason in str(caught.value)


def test_g1_all_bad_lines_are_reported_up_to_a_bound(tmp_path: Path):
    with pytest.raises(CommandError) as caught:
        labelled(tmp_path, *["{"] * 30)
    assert str(caught.value).count("set.jsonl:") == 20
    assert str(caught.value).endswith("and 10 more")


def test_g1_a_set_without_texts_or_without_a_file_is_an_error(tmp_path: Path):
    with pytest.raises(CommandError, match="has no texts"):
        labelled(tmp_path, "", "  ")
    with pytest.raises(CommandError, match="cannot be read: no such file"):
        read_labelled_set(tmp_path / "none.jsonl")


def test_g1_findings_with_places_are_compared_by_overlap(tmp_path: Path):
    text = "ann@example.org and bob@example.org"
    spans = [
        {"start": 0, "end": 15, "kind": "email"},
        {"start": 20, "end": 35, "kind": "personal_data/email"},
    ]
    examples = labelled(tmp_path, {"text": text, "findings": spans, "note": "other keys are ignored"})
    found = verdict(("personal_data/email", 2, 15), ("personal_data/email", 15, 18), ("secrets/jwt", 20, 35))
    accuracy = measured(examples, [found])
    assert accuracy.by_name == {"personal_data/email": Counts(1, 1, 1), "secrets/jwt": Counts(0, 1, 0)}
    assert accuracy.total == Counts(1, 2, 1)
    assert accuracy.missed == (Mistake(1, "personal_data/email", "bob@example.org"),)
    assert accuracy.false_alarms == (
        Mistake(1, "personal_data/email", " an"),
        Mistake(1, "secrets/jwt", "bob@example.org"),
    )
    assert (accuracy.total.precision, accuracy.total.recall) == (1 / 3, 1 / 2)


def test_g1_kinds_without_places_count_once_a_text(tmp_path: Path):
    examples = labelled(
        tmp_path, {"text": "a b c", "kinds": ["email", "email", "phone"]}, {"text": "d", "kinds": []}
    )
    accuracy = measured(
        examples,
        [
            verdict(
                ("personal_data/email", 0, 1), ("personal_data/email", 2, 3), ("personal_data/iban", 0, 1)
            ),
            verdict(("personal_data/iban", 0, 1), ("personal_data/iban", 0, 1), ("prompt_injection", 0, 0)),
        ],
    )
    assert accuracy.by_name == {
        "personal_data/email": Counts(1, 0, 0),
        "personal_data/iban": Counts(0, 2, 0),
        "personal_data/phone": Counts(0, 0, 1),
    }


def test_g1_labels_judge_prompt_injection_only(tmp_path: Path):
    examples = labelled(
        tmp_path,
        {"text": "ignore that", "label": "injection", "origin": "tool"},
        {"text": "mail a@b.org", "label": "harmless"},
        {"text": "hi", "label": "harmless"},
    )
    assert searched_names(examples) == {"prompt_injection"}
    assert examples[0].origin == "tool"
    verdicts = [verdict(("prompt_injection", 0, 0)), verdict(("personal_data/email", 5, 12)), verdict()]
    assert measured(examples, verdicts).by_name == {"prompt_injection": Counts(1, 0, 0)}
    verdicts[2] = verdict(("prompt_injection", 0, 0))
    assert measured(examples, verdicts).total == Counts(1, 1, 0)


def test_g1_other_categories_are_judged_where_the_set_names_them(tmp_path: Path):
    examples = labelled(tmp_path, {"text": "a", "kinds": ["hate"]}, {"text": "b", "kinds": []})
    verdicts = [verdict(("hate", 0, 0), ("violence", 0, 0)), verdict(("hate", 0, 0))]
    assert measured(examples, verdicts).by_name == {"hate": Counts(1, 1, 0)}


def test_g1_the_table_lists_the_first_mistakes_and_is_safe_for_a_terminal(tmp_path: Path):
    examples = labelled(
        tmp_path, *[{"text": "\x1b[31m", "findings": [{"start": 0, "end": 5, "kind": "email"}]}] * 12
    )
    accuracy = measured(examples, [verdict(failure="personal_data")] * 12)
    shown = accuracy_text(accuracy)
    assert "personal_data/email   0   0  12          -    0.0%" in shown
    assert "missed (12):\n  line 1  personal_data/email  \\x1b[31m" in shown
    assert shown.endswith("and 2 more (all with --json)")
    assert accuracy.unchecked == {"personal_data": "12 (timeout)"}


def test_g1_only_a_share_without_mistakes_is_100_percent(tmp_path: Path):
    examples = labelled(
        tmp_path, *[{"text": "a", "kinds": ["email"]}] * 9999, {"text": "a", "kinds": ["email"]}
    )
    found = [verdict(("personal_data/email", 0, 1))] * 9999
    assert "100.0%   99.9%" in accuracy_text(measured(examples, [*found, verdict()]))
    assert "100.0%  100.0%" in accuracy_text(measured(examples[:-1], found))
