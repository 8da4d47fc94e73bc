"""`penstock config check` notes variables that nothing reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.cli.commands.config import check

DOCUMENTED = sorted(
    set(
        re.findall(
            r"\bPENSTOCK_[A-Z0-9_]*[A-Z0-9]\b", Path("docs/configuration.md").read_text(encoding="utf-8")
        )
    )
)
SECRET = "hunter2"  # noqa: S105 - an example


def notes(capsys: pytest.CaptureFixture[str], **env: str) -> list[str]:
    assert check(Path("simulator"), env) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "variable" in line]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("PENSTOCK_EDGE_PROT", "PENSTOCK_EDGE_PORT"),
        ("PENSTOCK_TRACE_SAMPLE", "PENSTOCK_TRACE_SAMPLE_RATIO"),
        ("PENSTOCK_CATALOG", "PENSTOCK_CATALOGUE"),
        ("PENSTOCK_ENCODER_THREAD", "PENSTOCK_ENCODER_THREADS"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_one(
    written: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (note,) = notes(capsys, **{written: SECRET})
    assert (
        note
        == f"Note: {written} is not a variable that Penstock reads: write {meant}, if that is what you meant."
    )


def test_one_that_is_like_none_is_named_alone(capsys: pytest.CaptureFixture[str]) -> None:
    (note,) = notes(capsys, PENSTOCK_QQQQ=SECRET)
    assert note == "Note: PENSTOCK_QQQQ is not a variable that Penstock reads; see docs/configuration.md."


def test_no_documented_variable_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(DOCUMENTED) > 30
    check(Path("simulator"), dict.fromkeys(DOCUMENTED, ""))
    assert "is not a variable" not in capsys.readouterr().err


def test_a_variable_that_the_catalogue_names_is_not_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        'name: own\nproviders: {own: {base_url: "${PENSTOCK_OWN_ADDRESS}", api_key_env: [PENSTOCK_OWN_KEY]}}\n'
        "models: {one: {provider: own}}\nroles: {chat: {chain: [one]}}\n"
    )
    assert check(file, {"PENSTOCK_OWN_ADDRESS": "http://127.0.0.1:1", "PENSTOCK_OWN_KEY": SECRET}) == 0
    assert "is not a variable" not in capsys.readouterr().err
