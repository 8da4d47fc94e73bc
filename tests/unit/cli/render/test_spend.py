"""The text, CSV and JSON of a spend report."""

from __future__ import annotations

import csv

import pytest

from penstock.cli.render.spend import MonthOutlook, spend_csv, spend_json, spend_text
from penstock.contract.ledger.journal import Settled
from penstock.contract.ledger.spend import SpendAmounts, SpendKey, SpendReport, SpendRow
from services.ledger.spend.rows import SpendRows
from tests.unit.ledger.spend.settlements import settled

USD = 10**12
ROW = SpendRow(
    SpendKey(1_790_000_000, "shop", "anna", "", "", ""),
    SpendAmounts(4, 5, 1_200, 300, 100, 0, 12_000_001, 2 * USD, 3 * USD // 1000, 1, 2),
)
UNKNOWN = ("+", "price", "unknown")
REPORT = SpendReport(rows=(ROW,), total=ROW.amounts, users=2, left_out=3, missing_partitions=(5,))


def test_f5_a_report_shows_rows_total_forecast_and_what_is_missing():
    outlook = MonthOutlook(forecast_picousd=6 * USD, users=2, until_s=1_790_800_000)
    text = spend_text(REPORT, ("day", "user"), title="Spend from A to B", outlook=outlook)
    assert text.startswith("Spend from A to B\n")
    row, total = (
        next(line for line in text.splitlines() if line.startswith(start)) for start in ("2026", "total")
    )
    assert row.split() == [
        *("2026-09-21", "anna", "$0.000012", *UNKNOWN, "4", "5", "1,200", "300", "100"),
        *("$0.000003", *UNKNOWN, "$2.00", "$0.003"),
    ]
    assert total.split()[1] == "$0.000012"
    assert "3 more rows" in text
    assert "forecast to the end of the month: $6.00 ($3.00 per user, 2 users)" in text
    assert "with an estimated part of the usage: 1 attempt\n" in text
    assert "at models without a price, whose cost is not in the amounts: 2 attempts" in text
    assert "partition 5 is missing" in text


def test_f5_a_forecast_needs_a_day_of_use_and_users_to_divide_it():
    none = MonthOutlook(forecast_picousd=None, users=2, until_s=1)
    assert "no forecast: there is less than a day" in spend_text(REPORT, ("day",), title="", outlook=none)
    found = spend_json(REPORT, ("day",), since_s=0, until_s=1, outlook=none)
    assert found["forecast_month"] is None
    nobody = MonthOutlook(forecast_picousd=6 * USD, users=0, until_s=1)
    assert "of the month: $6.00\n" in spend_text(REPORT, ("day",), title="", outlook=nobody)
    one = MonthOutlook(forecast_picousd=6 * USD, users=1, until_s=1)
    assert "($6.00 per user, 1 user)" in spend_text(REPORT, ("day",), title="", outlook=one)


def test_f4_without_any_known_price_no_amount_and_no_forecast_is_shown():
    amounts = SpendAmounts(requests=4, attempts=5, input_tokens=9, output_tokens=1, unpriced_attempts=5)
    row = SpendRow(SpendKey(1_790_000_000, "shop", "anna", "", "", "m"), amounts)
    report = SpendReport(rows=(row,), total=amounts)
    outlook = MonthOutlook(forecast_picousd=0, users=1, until_s=1)
    text = spend_text(report, ("model",), title="", outlook=outlook)
    line = next(line for line in text.splitlines() if line.startswith("m "))
    assert line.split()[:5] == ["m", "price", "unknown", "4", "5"]
    assert "no forecast: the prices of the models are unknown" in text
    found = spend_json(report, ("model",), since_s=0, until_s=1, outlook=outlook)
    for figures in (found["rows"][0], found["total"]):
        assert figures["spent_usd"] is figures["spent_microusd"] is figures["spent_picousd"] is None
    assert found["forecast_month"] is None
    header, cells = csv.reader(spend_csv(report, ("model",)).splitlines())
    named = dict(zip(header, cells, strict=True))
    assert (named["spent_usd"], named["unpriced_attempts"], named["input_tokens"]) == ("", "5", "9")


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        (settled(1, picousd=12_000_000), "$0.000012"),
        (settled(1, picousd=0), "$0.00"),
    ],
    ids=["at a price", "at a free model"],
)
def test_f4_an_attempt_that_used_nothing_leaves_the_cost_known_whatever_its_price(
    used: Settled, cost: str
) -> None:
    rows = SpendRows()
    rows.add(used)
    rows.add(settled(2, priced=False, completed=False, input_tokens=0, output_tokens=0, picousd=0))
    (row,) = rows.rows()
    report = SpendReport(rows=(row,), total=row.amounts)
    text = spend_text(report, ("model",), title="", outlook=None)
    assert [line.split()[1] for line in text.splitlines() if line.startswith(("m ", "total"))] == [cost, cost]
    assert "without a price" not in text
    found = spend_json(report, ("model",), since_s=0, until_s=1, outlook=None)
    assert found["total"]["spent_picousd"] == used.picousd
    header, cells = csv.reader(spend_csv(report, ("model",)).splitlines())
    assert dict(zip(header, cells, strict=True))["spent_picousd"] == str(used.picousd)


def test_a_report_without_dimensions_and_requests_is_the_total_alone():
    text = spend_text(SpendReport(rows=()), (), title="Spend", outlook=None)
    assert text.splitlines()[-1].split() == ["$0.00", "0", "0", "0", "0", "0", "-", "$0.00", "$0.00"]


@pytest.mark.parametrize(
    "user", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a,b", 'a"b', "two\nlines", "\x1b[2J"]
)
def test_f5_csv_cells_are_neither_formulas_nor_control_characters(user):
    row = SpendRow(SpendKey(0, "shop", user, "", "", ""), ROW.amounts)
    text = spend_csv(SpendReport(rows=(row,)), ("account", "user"))
    header, cells = csv.reader(text.splitlines())
    assert header[:6] == ["account", "user", "spent_usd", "spent_microusd", "spent_picousd", "requests"]
    assert cells[0] == "shop"
    assert cells[1][0] not in "=+-@\t"
    assert cells[1].isprintable()
    assert cells[1].removeprefix("'")[-1] == user[-1]
    named = dict(zip(header, cells, strict=True))
    assert (named["spent_usd"], named["spent_picousd"]) == ("0.000012000001", "12000001")


def test_f5_json_has_exact_integers_of_micro_dollars_and_picodollars():
    outlook = MonthOutlook(forecast_picousd=7, users=2, until_s=1_790_800_000)
    found = spend_json(REPORT, ("day", "user"), since_s=0, until_s=3600, outlook=outlook)
    (row,) = found["rows"]
    assert (row["day"], row["user"]) == ("2026-09-21", "anna")
    money = ("spent_usd", "spent_microusd", "spent_picousd", "per_request_picousd")
    assert [row[name] for name in money] == ["0.000012000001", 12, 12_000_001, 3_000_000]
    assert found["total"]["users"] == 2
    assert found["forecast_month"]["per_user_picousd"] == 3
    assert (found["since"], found["until"]) == ("1970-01-01T00:00Z", "1970-01-01T01:00Z")
    assert found["missing_partitions"] == [5]
