"""Commands in messages work in the working directory of the user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.cli.program_name import as_invoked, command_name


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".venv" / "bin" / "penstock"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_the_plain_name_where_the_path_finds_it(program: Path) -> None:
    assert command_name(str(program), str(program.parent)) == "penstock"


@pytest.mark.parametrize("search", ["", "/usr/bin"])
def test_the_relative_path_where_the_path_does_not_find_it(program: Path, search: str) -> None:
    assert command_name(".venv/bin/penstock", search) == ".venv/bin/penstock"
    assert command_name(str(program), search) == ".venv/bin/penstock"


def test_the_absolute_path_from_another_directory(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    elsewhere = command_name(str(program), "")
    assert Path("/", elsewhere) == program


def test_another_penstock_on_the_path_is_not_used(program: Path, tmp_path: Path) -> None:
    other = tmp_path / "penstock"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert command_name(str(program), str(tmp_path)) == ".venv/bin/penstock"


def test_the_plain_name_as_a_module_and_under_another_program() -> None:
    assert command_name("/x/penstock/cli/__main__.py", "") == "penstock"
    assert command_name("/usr/bin/pytest", "") == "penstock"


def test_advice_names_the_command_as_it_was_typed(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/penstock", "ask"])
    monkeypatch.setenv("PATH", "")
    assert as_invoked("start one with `penstock up`") == "start one with `.venv/bin/penstock up`"
