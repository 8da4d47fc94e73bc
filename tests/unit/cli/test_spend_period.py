"""The times that `penstock spend` takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.cli.__main__ import main
from penstock.cli.spend_period import moment_s

NOW_S = int(datetime(2026, 3, 15, 17, 30, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("today", datetime(2026, 3, 15, tzinfo=UTC)),
        ("month", datetime(2026, 3, 1, tzinfo=UTC)),
        ("7d", datetime(2026, 3, 8, 17, 30, tzinfo=UTC)),
        ("12h", datetime(2026, 3, 15, 5, 30, tzinfo=UTC)),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-02-03T04:05", datetime(2026, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_f5_a_time_is_a_name_an_age_or_a_date_in_utc(text, moment):
    assert moment_s(text, NOW_S) == int(moment.timestamp())


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7w", "2026-02-30", "2026-13", "2026-02-03 04:05"])
def test_any_other_time_is_refused(text):
    with pytest.raises(ValueError, match="is not a time"):
        moment_s(text, NOW_S)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--by", "colour"],
        ["--by", "user,user"],
        ["--by", "hour,day"],
        ["--by", ""],
        ["--since", "soon"],
        ["--json", "--csv"],
        ["--account", "a.b"],
    ],
)
def test_f5_a_mistake_in_the_options_of_spend_is_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(["spend", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize("until", [[], ["--until", "2999-02"]])
def test_f5_a_period_that_begins_in_the_future_is_refused(until, capsys):
    assert main(["spend", "--since", "2999-01-01", *until]) == 1
    assert "--since 2999-01-01 is in the future" in capsys.readouterr().err
