"""`penstock` at the command line: usage mistakes exit 2, others 1, never a stack trace."""

from __future__ import annotations

import shlex

import pytest

from penstock.cli.__main__ import main
from penstock.cli.local.python_child import code_path, service_argv
from penstock.cli.option_rules import mistake
from penstock.cli.parser import make_parser


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["ask"],
        ["ask", "hi", "--role", "nobody"],
        ["ask", "hi", "--role", "embed"],
        ["ask", "hi", "--timeout", "-1"],
        ["ask", "hi", "--timeout", "soon"],
        ["ask", "hi", "--rescue", "always"],
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
    ],
)
def test_a_command_line_that_makes_no_sense_exits_2_d10(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask", ""], "empty"),
        (["ask", "hi", "--image", "nosuch.png"], "nosuch.png cannot be read"),
        (["trace", "--data", "nowhere"], "/nowhere/traces.jsonl; start"),
        (["up", "--data", "/dev/null/x"], "name another"),
        (["demo", "--data", "/dev/null/x"], "name another"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_exits_1(arguments, told, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert main(arguments) == 1

    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("penstock: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dead drop 7 --code undeliverable --yes", "--code chooses among --all"),
        ("dead drop 7 --since 2h --yes", "--since chooses among --all"),
        ("dead redrive 7 8 --role chat --code x", "--role --code chooses among --all"),
        ("dead drop --code undeliverable", "either numbers of letters, or --all"),
        ("dead drop --all --code undeliverable", "--all needs --role"),
        ("jobs some-id --state failed", "--state chooses from the list"),
        ("jobs some-id --user u --result", "--user chooses from the list"),
        ("jobs some-id --user ''", "--user chooses from the list"),
        ("jobs some-id --cancel --json", "no JSON"),
        ("jobs --cancel", "need the ID"),
        ("ask hi --lane batch --detach --no-stream", "--no-stream is about"),
        ("ask hi --detach", "add --lane batch"),
    ],
)
def test_d10_an_option_that_would_say_nothing_is_refused_and_not_passed_over(line, told, capsys):
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line))

    assert caught.value.code == 2
    assert told in capsys.readouterr().err


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
        "ask hi --rescue before_output",
    ],
)
def test_options_that_belong_together_are_taken(line):
    assert mistake(make_parser().parse_args(shlex.split(line))) is None


def test_a_question_without_quotes_is_told_how_to_be_one(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["ask", "what", "is", "up"])

    assert caught.value.code == 2
    assert 'put the question in quotes: penstock ask "what is up"' in capsys.readouterr().err


def test_an_option_that_does_not_exist_is_no_question(capsys):
    with pytest.raises(SystemExit):
        main(["ask", "what", "--rolle", "chat"])

    assert "quotes" not in capsys.readouterr().err


def test_a_wrong_setting_is_told(capsys, monkeypatch):
    monkeypatch.setenv("NATS_URL", "not an address")

    assert main(["status"]) == 1
    assert "NATS_URL" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("penstock ")


def test_config_check_and_print_are_wired(capsys):
    assert main(["config", "check", "simulator"]) == 0
    assert "in order" in capsys.readouterr().out
    assert main(["config", "print", "simulator"]) == 0
    assert "sim-chat-large" in capsys.readouterr().out


def test_the_trade_off_of_per_role_is_explained(capsys):
    with pytest.raises(SystemExit):
        main(["up", "--help"])

    told = " ".join(capsys.readouterr().out.split())
    assert "keep the limits of a model together, unless PENSTOCK_QUOTA=local" in told


def test_children_run_the_code_that_runs_here_whatever_folder_they_start_in():
    assert "-P" in service_argv("router"), "a folder `services` in the current directory is not ours"
    found = code_path({"PYTHONPATH": "/elsewhere"})
    assert not found or found["PYTHONPATH"].endswith(":/elsewhere")
