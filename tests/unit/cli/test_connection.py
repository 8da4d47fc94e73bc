"""The address of the system that a command uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.connection import command_settings, is_starting
from penstock.cli.errors import CommandError
from penstock.cli.local.directory_lock import DirectoryLock
from penstock.cli.parser import make_parser
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


@pytest.mark.parametrize("named", [".penstock", "./.penstock", "elsewhere"])
@pytest.mark.parametrize(
    "command", ["ask hi", "explain hi", "status", "cancel 1", "jobs", "dead list", "keys list"]
)
def test_a_named_directory_without_a_system_is_refused(command: str, named: str) -> None:
    """The default address may be that of another system, also where the default directory is named."""
    arguments = make_parser().parse_args([*command.split(), "--data", named])
    with pytest.raises(CommandError, match=f"no `penstock up` runs with --data .*{Path(named).name}"):
        command_settings(arguments.data)


def test_a_system_that_is_starting_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lock is taken, and its addresses are written when it is up."""
    lock = DirectoryLock(tmp_path / "data")
    lock.acquire()
    try:
        assert is_starting(tmp_path / "data")
        with pytest.raises(CommandError, match=r"`penstock up` is starting or stopping in .*data"):
            command_settings(tmp_path / "data")
        write_runtime_file(
            tmp_path / "data", RuntimeFile(nats_url="nats://127.0.0.1:1", embedded=True, pid=1)
        )
        assert not is_starting(tmp_path / "data")
    finally:
        lock.release()
    default = DirectoryLock(DEFAULT_DATA)
    default.acquire()
    command_settings(DEFAULT_DATA)
    assert "`penstock up` is starting or stopping in .penstock]" in capsys.readouterr().err
    default.release()
    assert not is_starting(DEFAULT_DATA)


def test_a_directory_that_was_not_named_is_the_default() -> None:
    assert make_parser().parse_args(["status"]).data == DEFAULT_DATA


def test_an_address_that_was_chosen_is_not_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    DEFAULT_DATA.mkdir()
    write_runtime_file(DEFAULT_DATA, RuntimeFile(nats_url="nats://127.0.0.1:43327", embedded=True, pid=1))
    assert command_settings(DEFAULT_DATA).nats_url == "nats://127.0.0.1:43327"
    monkeypatch.setenv("NATS_URL", "nats://elsewhere:4222")
    assert command_settings(DEFAULT_DATA).nats_url == "nats://elsewhere:4222"
    assert not capsys.readouterr().err
