"""Numbers in the ways people write them: in groups, with dots, hyphens and special blanks, beside a slash."""

from __future__ import annotations

import pytest

from services.guard.personal_data.digit_groups import evenly_grouped, group_end
from tests.harness.guard.findings import found_in
from tests.harness.guard.written_forms import FORMS, HARMLESS_FORMS


@pytest.mark.parametrize(("text", "kind", "value"), FORMS)
def test_g6_a_number_is_found_as_it_is_written(personal_data_detector, text, kind, value):
    assert found_in(personal_data_detector, text) == [(kind, value)]


@pytest.mark.parametrize("text", HARMLESS_FORMS)
def test_g6_what_is_only_written_alike_is_not_reported(personal_data_detector, text):
    assert found_in(personal_data_detector, text) == []


def test_g6_a_group_that_goes_on_ends_no_number():
    assert group_end("7707 083 893 12", 10) == len("7707 083 893")
    assert group_end("7707 083 8935", 10) == 0
    assert group_end("7707", 10) == 0


@pytest.mark.parametrize(
    ("written", "even"),
    [
        ("12 34 56", True),
        ("12  34\u00a056", True),
        ("12-34\u201056", True),
        ("12-34 56", False),
        ("1 234 567", False),
    ],
)
def test_g6_even_groups_have_gaps_of_one_sort_and_no_single_digits(written, even):
    assert evenly_grouped(written) is even
