from __future__ import annotations

import pytest

from services.worker.failures import ProviderFailure


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (
            "400, message:\n  Not enough data to satisfy content length header.",
            "Not enough data to satisfy content length header.",
        ),
        ("the connection broke: 400, message:\n  Not enough data.", "the connection broke: Not enough data."),
        ("503: overloaded,\n\ttry later", "503: overloaded, try later"),
        ("  stalled  ", "stalled"),
        ("", ""),
    ],
)
def test_d10_a_failure_reads_as_one_line_without_a_library_s_beginning(raw, told):
    assert str(ProviderFailure("connection", raw)) == told
