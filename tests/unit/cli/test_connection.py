"""The address of the system that a command uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.connection import command_settings
from penstock.runtime.runtime_file import DEFAULT_DATA, RuntimeFile, write_runtime_file


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NATS_URL", raising=False)


def test_the_default_address_is_noted_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be that of a system that another directory has started."""
    assert command_settings(DEFAULT_DATA).nats_url == "nats://127.0.0.1:4222"
    shown = capsys.readouterr()
    assert "using the default address nats://127.0.0.1:4222" in shown.err
    assert not shown.out


def test_an_address_that_was_chosen_is_not_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    DEFAULT_DATA.mkdir()
    write_runtime_file(DEFAULT_DATA, RuntimeFile(nats_url="nats://127.0.0.1:43327", embedded=True, pid=1))
    assert command_settings(DEFAULT_DATA).nats_url == "nats://127.0.0.1:43327"
    monkeypatch.setenv("NATS_URL", "nats://elsewhere:4222")
    assert command_settings(DEFAULT_DATA).nats_url == "nats://elsewhere:4222"
    assert not capsys.readouterr().err
