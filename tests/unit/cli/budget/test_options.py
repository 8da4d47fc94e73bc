"""Options of `penstock budget` and `penstock prices`: what they mean, and which contradict each other."""

from __future__ import annotations

import pytest

from penstock.cli.argument_types import INHERITED
from penstock.cli.parser import contradiction, make_parser
from penstock.runtime.config.budgets.section import UNLIMITED


def refusal(line: str) -> str | None:
    return contradiction(make_parser().parse_args(line.split()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("budget set --usd-per-day 10", "say whose budget"),
        ("budget disable", "say whose budget"),
        ("budget set --account a", "nothing to change"),
        ("budget set --user u --key abcd2345 --concurrency 1", "one at a time"),
        ("budget set --system --every user --concurrency 1", "one at a time"),
        ("budget unset --system --account a", "no effect with --system"),
        ("budget set --account a --tier-definition pro --concurrency 1", "no effect with --tier-definition"),
        ("budget set --every account --account a --concurrency 1", "no effect with --every"),
        ("budget set --user u --traffic chat --concurrency 1", "not to users"),
        ("budget set --every user --time-zone UTC", "not to users"),
        ("budget set --account a --traffic chat --note x", "needs a limit"),
        ("budget set --tier-definition pro --tier free", "definition of a tier"),
        ("budget set --account a --soft concurrency --hard concurrency", "both soft and hard"),
        ("budget show --system --user u", "no effect"),
        ("budget show --every user --key abcd2345", "no effect"),
        ("budget show --tier-definition pro --account a", "no effect"),
        ("budget history --system --user u", "no effect"),
        ("prices set m --input none --output 1", "0 if it is free"),
        ("prices set m", "nothing to change"),
    ],
)
def test_f3_options_that_contradict_each_other_are_reported(line: str, reason: str):
    assert reason in str(refusal(line))


@pytest.mark.parametrize(
    "line",
    [
        "budget set --account a --usd-per-day 10",
        "budget set --every user --account a --usd-per-day 10",
        "budget set --every account --tier pro",
        "budget set --system --traffic chat --requests-per-second 10",
        "budget set --tier-definition pro --tokens-per-day 100000",
        "budget set --key abcd2345 --tier none",
        "budget disable --user u --note spam --by ann",
        "budget show",
        "budget show --every user --account a",
        "budget show --tier-definition pro --json",
        "budget history --user u --account a",
        "budget history --system",
        "budget alerts --since 7d",
        "budget history --account a --json",
        "prices set m --cached-input none",
        "prices set m --input 0.15 --output 0 --cached-input 0.075 --as-of 2026-11-30",
    ],
)
def test_f3_complete_commands_are_accepted(line: str):
    assert refusal(line) is None


def test_f3_amounts_are_read_exactly():
    limits = "--usd-per-day 10.50 --usd-per-month unlimited --tokens-per-day 1,000 --concurrency none"
    given = make_parser().parse_args(f"budget set --account a {limits}".split())
    assert (given.usd_per_day, given.usd_per_month) == (10_500_000, UNLIMITED)
    assert (given.tokens_per_day, given.concurrency) == (1_000, INHERITED)


def test_f3_a_limit_is_named_as_its_option_or_as_in_the_catalogue():
    given = make_parser().parse_args(["budget", "set", "--soft", "usd-per-day", "--hard", "usd_per_month"])
    assert (given.soft, given.hard) == (["usd_per_day"], ["usd_per_month"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("budget set --account a --usd-per-day -1", "as 10 or 10.50"),
        ("budget set --account a --usd-per-day ten", "as 10 or 10.50"),
        ("budget set --account a --usd-per-day 0.0000001", "finer than a micro-dollar"),
        ("budget set --account a --concurrency 1.5", "a whole number"),
        ("budget set --account a --time-zone Berlin", "write Europe/Berlin"),
        ("budget set --account a --soft usd_per_year", "invalid choice"),
        ("budget set --account a --tier a.b", "not the name of a tier"),
        ("budget set --user= --concurrency 1", "empty"),
        ("prices set m --input 1 --output 1 --as-of yesterday", "YYYY-MM-DD"),
    ],
)
def test_f3_a_value_that_is_not_valid_is_reported_with_the_fix(
    line: str, reason: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        make_parser().parse_args(line.split())
    assert reason in capsys.readouterr().err
