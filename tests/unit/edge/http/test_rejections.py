"""K4: one line in the log for every rejected request, in bounded number."""

from __future__ import annotations

import logging

from services.edge.http.rejections import LinesPerSecond


def test_k4_a_flood_of_rejected_requests_writes_a_bounded_number_of_lines():
    now_s = 0.0
    limit = LinesPerSecond(2, lambda: now_s)
    lines = [logging.makeLogRecord({"msg": "rejected"}) for _ in range(6)]
    assert [limit.filter(line) for line in lines[:5]] == [True, True, False, False, False]
    now_s = 1.0
    assert limit.filter(lines[5])
    assert lines[5].msg == "rejected (3 more not logged)"
