"""D6, A9: a stream is judged by what it adds: what is merely different is read, what is cut is damage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.providers.rows.stream_content import (
    LETTERS,
    MORE_THAN_TEXT,
    NOTHING_ADDED,
    TEXT_BESIDE_OTHER_KEYS,
)
from tests.fault.providers.rows.stream_ends import (
    BEFORE_ANY_OUTPUT,
    DAMAGE,
    DONE_REQUIRED,
    ENDS,
    EVERY,
    GARBLED,
    NEWLINE,
    NO_REASON,
    SEVERAL,
)
from tests.fault.providers.rows.table import Outcome, Table, check, params, ran
from tests.fault.providers.rows.transport import JSON_WHERE_A_STREAM_WAS_ASKED, TRANSPORT

ROWS = (
    *TEXT_BESIDE_OTHER_KEYS,
    *NOTHING_ADDED,
    *ENDS,
    *MORE_THAN_TEXT,
    *LETTERS,
    *TRANSPORT,
    *JSON_WHERE_A_STREAM_WAS_ASKED,
    *DAMAGE,
    *BEFORE_ANY_OUTPUT,
    *GARBLED,
    *SEVERAL,
)


TABLE = Table(
    rows=ROWS,
    providers={
        DONE_REQUIRED: {"stream": {"done": "required"}},
        EVERY: {"stream": {"finish_reason": "every"}},
        NO_REASON: {"stream": {"finish_reason": "optional"}},
        NEWLINE: {"stream": {"event_end": "newline"}},
    },
    sections={"breaker": {"failures": 10_000}},
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("streams")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d6_a_stream_is_complete_or_damaged_by_its_content(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])
