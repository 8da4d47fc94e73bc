"""G2: options of `penstock guard`: what they mean, and which contradict each other."""

from __future__ import annotations

import pytest

from penstock.cli.parser import contradiction, make_parser


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("guard try", "either a text or --file"),
        ("guard try hello --file a.txt", "either a text or --file"),
        ("guard set --mode off", "either an ACCOUNT or --every"),
        ("guard set shop --every --mode off", "either an ACCOUNT or --every"),
        ("guard unset", "either an ACCOUNT or --every"),
        ("guard set shop", "nothing to change"),
        ("guard set shop --input secrets=block --input secrets=flag", "--input names secrets twice"),
        ("guard set shop --when-unavailable secrets=allow --when-unavailable secrets=refuse", "twice"),
    ],
)
def test_g2_options_that_contradict_each_other_are_reported(line: str, reason: str):
    assert reason in str(contradiction(make_parser().parse_args(line.split())))


@pytest.mark.parametrize(
    "line",
    [
        "guard try hello --account shop --output --json",
        "guard try --file a.txt",
        "guard test set.jsonl --json",
        "guard show",
        "guard show shop --json",
        "guard set shop --mode before --input personal_data=redact --output personal_data/email=flag",
        "guard set --every --when-unavailable safety_model=refuse --no-restore --note audit --by ann",
        "guard set shop --mode inherit --input hate=inherit --when-unavailable secrets=inherit --restore",
        "guard unset --every",
        "guard history shop",
        "guard verdicts shop --last 5",
    ],
)
def test_g2_options_that_fit_are_accepted(line: str):
    assert contradiction(make_parser().parse_args(line.split())) is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--input secrets", "not CATEGORY=ACTION"),
        ("--input secrets=hide", "allow, flag, redact, block, inherit"),
        ("--input email=redact", "write personal_data/email"),
        ("--output hate=redact", "cannot be redacted"),
        ("--when-unavailable secrets=close", "DETECTOR=WHEN"),
        ("--when-unavailable safety=allow", "write safety_model"),
        ("--mode of", "invalid choice"),
    ],
)
def test_g2_a_value_that_is_not_valid_names_the_fix(
    options: str, reason: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["guard", "set", "shop", *options.split()])
    assert reason in " ".join(capsys.readouterr().err.split())
