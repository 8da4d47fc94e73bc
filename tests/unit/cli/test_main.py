"""The `penstock` command: exit code 2 for usage mistakes, 1 for errors, never a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import services.router
from penstock.__main__ import main as installed_command
from penstock.cli.__main__ import main
from penstock.cli.local.python_child import code_path, service_argv
from penstock.cli.parser import contradiction, make_parser
from tests.harness.processes.catalogues import catalogue


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["ask"],
        ["ask", "hi", "--role", "a.role"],
        ["ask", "hi", "--role", "embed"],
        ["ask", "hi", "--timeout", "-1"],
        ["ask", "hi", "--timeout", "soon"],
        ["ask", "hi", "--rescue", "always"],
        ["ask", "hi", "--complexity", "hard"],
        ["explain", "hi", "--rescue", "none"],
        ["ask", "hi", "--user", "\udcff"],
        ["run", "nothing"],
        ["config"],
        ["jobs", "--result"],
        ["jobs", "--cancel"],
        ["jobs", "a.b"],
        ["ask", "Hm", "--detach"],
        ["dead", "redrive"],
        ["dead", "redrive", "--all"],
        ["dead", "drop", "7", "--all"],
        ["dead", "show", "-1"],
        ["dead", "list", "--since", "soon"],
        ["keys"],
        ["keys", "create", "--account", "a.b"],
        ["keys", "create", "--role", "a.role"],
        ["keys", "create", "--expires", "soon"],
        ["keys", "create", "--rescue", "hold:0"],
        ["keys", "revoke"],
        ["keys", "revoke", "a"],
    ],
)
def test_d10_an_invalid_command_line_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ask --temperature 1 hi", "unrecognized arguments: --temperature\n"),
        ("ask hi --timeout 4000", "--timeout is at most"),
        ("ask hi --detach", "add --lane batch"),
    ],
)
def test_d10_a_mistake_is_shown_with_the_usage_of_its_command(line, expected, capsys):
    with pytest.raises(SystemExit):
        main(line.split())

    error = capsys.readouterr().err
    assert error.startswith("usage: penstock ask ")
    assert expected in error


def test_d10_run_without_a_service_asks_for_nothing_else(capsys):
    with pytest.raises(SystemExit):
        main(["run"])

    assert capsys.readouterr().err.endswith("the following arguments are required: service\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ask", ""], "empty"),
        (["ask", "hi", "--image", "nosuch.png"], "nosuch.png cannot be read"),
        (["trace", "--data", "nowhere"], "/nowhere/traces.jsonl; start"),
        (["status", "--data", "nowhere"], "/nowhere; omit --data, or set NATS_URL"),
        (["up", "--data", "/dev/null/x"], "name another"),
        (["demo", "--data", "/dev/null/x"], "name another"),
    ],
)
def test_an_error_is_one_line_and_exits_1(arguments, expected, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert main(arguments) == 1

    error = capsys.readouterr().err
    assert expected in error
    assert error.startswith("penstock: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dead drop 7 --code undeliverable --yes", "--code filters --all"),
        ("dead drop 7 --since 2h --yes", "--since filters --all"),
        ("dead redrive 7 8 --role chat --code x", "--role --code filters --all"),
        ("dead drop --code undeliverable", "either sequence numbers or --all"),
        ("dead drop --all --code undeliverable", "--all needs --role"),
        ("jobs some-id --state failed", "--state filters the list"),
        ("jobs some-id --user u --result", "--user filters the list"),
        ("jobs some-id --user ''", "--user filters the list"),
        ("jobs some-id --cancel --json", "no JSON"),
        ("jobs --cancel", "need the ID"),
        ("explain hi --model gpt-4o --complexity simple", "--complexity has no effect with --model"),
        ("ask hi --role chat --model gpt-4o", "--model: not allowed with argument --role"),
        ("ask hi --lane batch --detach --no-stream", "--no-stream has no effect"),
        ("ask hi --detach", "add --lane batch"),
        ("ask hi --max-tokens 0", "'0' is not a number of tokens: use a whole number from 1 to"),
        (f"ask hi --max-tokens {2**53}", f"use a whole number from 1 to {2**53 - 1}"),
        ("explain hi --embed --max-tokens 5", "--max-tokens has no effect with --embed"),
        ("ask hi --timeout 3601", "at most 3600 s in the interactive lane; --lane batch takes up to 86400 s"),
        ("explain hi --timeout 86401", "at most 3600 s in the interactive lane"),
        ("ask hi --lane batch --detach --timeout 86401", "at most 86400 s in the batch lane"),
    ],
)
def test_d10_an_option_without_effect_is_rejected(line, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line))

    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "dead drop --all --role chat --code undeliverable --since 2h --yes",
        "dead redrive 7 8 --json",
        "jobs --state failed --user u --json",
        "jobs some-id --result --json",
        "jobs some-id --cancel",
        "ask hi --lane batch --detach --json",
        "ask hi --no-stream --json",
        "ask hi --rescue before_output --max-tokens 5",
        "explain hi --complexity complex --role coding",
        "explain hi --embed",
        "ask hi --timeout 3600",
        "ask hi --timeout 3601 --lane batch --detach",
        "ask hi --role eleventh_role",
    ],
)
def test_options_that_belong_together_are_accepted(line):
    assert contradiction(make_parser().parse_args(shlex.split(line))) is None


def test_a_prompt_without_quotes_is_shown_with_quotes(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["ask", "what", "is", "up"])

    assert caught.value.code == 2
    assert 'put the question in quotes: penstock ask "what is up"' in capsys.readouterr().err


def test_an_unknown_option_is_not_taken_for_a_prompt(capsys):
    with pytest.raises(SystemExit):
        main(["ask", "what", "--rolle", "chat"])

    assert "quotes" not in capsys.readouterr().err


def test_an_invalid_setting_is_an_error(capsys, monkeypatch):
    monkeypatch.setenv("NATS_URL", "not an address")

    assert main(["status"]) == 1
    assert "NATS_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "ask hi",
        "ask hi --lane batch --detach",
        "explain hi",
        "status",
        "trace",
        "jobs",
        "dead list",
        "dead redrive 7",
        "config check simulator",
        "config print simulator",
        "up",
        "demo",
    ],
)
def test_d10_every_command_rejects_an_account_too_long_for_a_subject(line, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_ACCOUNT", "x" * 65)

    assert main(line.split()) == 1

    error = capsys.readouterr().err
    assert "PENSTOCK_ACCOUNT" in error
    assert "use 1 to 64 of A-Z a-z 0-9 _ -" in error


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("penstock ")


def test_config_check_and_print_run(capsys):
    assert main(["config", "check", "simulator"]) == 0
    assert "is valid" in capsys.readouterr().out
    assert main(["config", "print", "simulator"]) == 0
    assert "sim-chat-large" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", ["budget set --user ann", "guard set demo", "keys create --budget 3", "jobs --result"]
)
def test_a_mistake_is_reported_with_the_usage_of_the_command_that_was_given(line: str, capsys):
    with pytest.raises(SystemExit):
        main(line.split())

    command = line.split(" -", maxsplit=1)[0].removesuffix(" demo")
    assert capsys.readouterr().err.startswith(f"usage: penstock {command} [-h]")


def test_config_check_reads_a_path_without_yaml_at_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_SIMULATOR_URL", "http://127.0.0.1:1")
    (tmp_path / "mine").write_text(catalogue())

    assert main(["config", "check", "./mine"]) == 0
    assert capsys.readouterr().out.startswith("mine: ")


def test_the_help_explains_the_trade_off_of_per_role(capsys):
    with pytest.raises(SystemExit):
        main(["up", "--help"])

    text = " ".join(capsys.readouterr().out.split())
    assert "share the limits of a model, unless PENSTOCK_QUOTA=local" in text


def test_children_run_this_code_in_any_working_directory():
    assert "-P" in service_argv("router"), "a folder `services` in the current directory is not ours"
    found = code_path({"PYTHONPATH": "/elsewhere"})
    assert not found or found["PYTHONPATH"].endswith(":/elsewhere")


def test_k5_a_mistyped_key_is_not_repeated(capsys):
    with pytest.raises(SystemExit):
        main(["keys", "revoke", "psk_abcdefg_secretsecretsecret"])
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("entry", [".", "", "absolute"])
@pytest.mark.parametrize("file", ["services/__init__.py", "services.py"])
def test_children_import_no_other_services_from_pythonpath(tmp_path, monkeypatch, entry, file):
    env, kept = _pythonpath_with(tmp_path, monkeypatch, entry, file)
    code = "import sys, services.router as found; print(found.__file__, sys.path)"
    argv = (sys.executable, "-P", "-S", "-c", code)  # -S: without the finder of an editable installation

    found = subprocess.run(argv, env={**env, **code_path(env)}, capture_output=True, text=True, check=True)

    assert found.stdout.startswith(services.router.__file__)
    assert kept in found.stdout


@pytest.mark.parametrize(
    "file", ["services/__init__.py", "services/router/__init__.py", "penstock/__init__.py"]
)
def test_installed_children_ignore_a_pythonpath_that_hides_them(tmp_path, monkeypatch, file):
    env, kept = _pythonpath_with(tmp_path, monkeypatch, ".", file)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(Path(services.router.__file__).parents[2]))

    assert code_path(env) == {"PYTHONPATH": kept}
    assert code_path({"PYTHONPATH": kept}) == {}


def _pythonpath_with(folder, monkeypatch, entry, file):
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).touch()
    kept = folder / "kept"
    kept.mkdir()
    monkeypatch.chdir(folder)
    path = os.pathsep.join((str(folder) if entry == "absolute" else entry, str(kept)))
    return {**os.environ, "PYTHONPATH": path}, str(kept)


def test_g4_no_key_is_made_for_the_account_of_the_guard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--account", "penstock-guard"]) == 1
    assert "guard's own" in capsys.readouterr().err


def test_k8_a_service_without_the_packages_of_the_server_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faststream", None)  # as where it is not installed
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("the service is started"))
    monkeypatch.setattr(sys, "argv", ["penstock", "run", "router"])

    assert installed_command() == 1
    said = capsys.readouterr().err
    assert "faststream is not installed" in said
    assert "pip install 'penstock[server]'" in said


def test_d10_without_a_command_the_commands_are_listed(capsys):
    with pytest.raises(SystemExit):
        main([])
    err = capsys.readouterr().err
    assert "up " in err
    assert "list, show, redrive or drop dead letters" in err
