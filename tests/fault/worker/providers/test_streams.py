"""D6, A9: an unusual but complete stream is read; a truncated or damaged one is not shown as complete."""

from __future__ import annotations

import pytest

from tests.fault.worker.providers.rows.stream_content import (
    CHARACTERS,
    MORE_THAN_TEXT,
    NO_CONTENT,
    TEXT_BESIDE_OTHER_KEYS,
)
from tests.fault.worker.providers.rows.stream_ends import (
    BEFORE_ANY_OUTPUT,
    CORRUPTED,
    DAMAGED,
    DONE_REQUIRED,
    ENDS,
    EVERY,
    NEWLINE,
    NO_FINISH_REASON,
    SEVERAL_CHOICES,
)
from tests.fault.worker.providers.rows.table import Outcome, Table, check, row_ids
from tests.fault.worker.providers.rows.transport import JSON_INSTEAD_OF_STREAM, NOT_200, TRANSPORT

ROWS = (
    *TEXT_BESIDE_OTHER_KEYS,
    *NO_CONTENT,
    *ENDS,
    *MORE_THAN_TEXT,
    *CHARACTERS,
    *TRANSPORT,
    *JSON_INSTEAD_OF_STREAM,
    *NOT_200,
    *DAMAGED,
    *BEFORE_ANY_OUTPUT,
    *CORRUPTED,
    *SEVERAL_CHOICES,
)


TABLE = Table(
    rows=ROWS,
    providers={
        DONE_REQUIRED: {"stream": {"done": "required"}},
        EVERY: {"stream": {"finish_reason": "every"}},
        NO_FINISH_REASON: {"stream": {"finish_reason": "optional"}},
        NEWLINE: {"stream": {"event_end": "newline"}},
    },
    sections={"breaker": {"failure_threshold": 10_000}},
)


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_d6_a_stream_is_complete_or_damaged_by_its_content(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])
