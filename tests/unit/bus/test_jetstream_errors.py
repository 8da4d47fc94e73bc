"""The classes of JetStream's error codes."""

from __future__ import annotations

import pytest
from nats.js.errors import APIError, NotFoundError, ServerError, ServiceUnavailableError

from penstock.bus.jetstream_answers import AnswerError
from penstock.bus.jetstream_errors import (
    ErrorClass,
    advice,
    class_of,
    is_absent,
    is_at_limit,
    is_conflict,
    is_full,
    is_name_in_use,
    is_passing,
)

PASSING, FULL, FINAL, CONFIGURATION = (
    ErrorClass.PASSING,
    ErrorClass.FULL,
    ErrorClass.FINAL,
    ErrorClass.CONFIGURATION,
)


@pytest.mark.parametrize(
    ("code", "err_code", "description", "expected"),
    [
        (429, 10167, "too many requests", PASSING),
        (409, 10158, "duplicate message id is in process", PASSING),
        (503, 10163, "expected last sequence per subject temporarily unavailable", PASSING),
        (412, 10180, "min last sequence", PASSING),
        (503, 10008, "JetStream system temporarily unavailable", PASSING),
        (503, 10076, "JetStream not enabled", PASSING),
        (400, 10005, "no suitable peers for placement", PASSING),
        (400, 10226, "stream reconfiguration already in progress", PASSING),
        (503, 10077, "store is closed", PASSING),
        (503, 10077, "maximum bytes exceeded", FULL),
        (503, 10077, "maximum messages per subject exceeded", FULL),
        (503, 10077, "write /data/1.blk: no space left on device", FULL),
        (503, 10077, "open /data/2.blk: read-only file system", FULL),
        (503, 10023, "insufficient resources", FULL),
        (500, 10047, "insufficient storage resources available", FULL),
        (400, 10002, "resource limits exceeded for account", FULL),
        (400, 10071, "wrong last sequence: 7", FINAL),
        (400, 10054, "message size exceeds maximum allowed", FINAL),
        (404, 10037, "no message found", FINAL),
        (404, 10059, "stream not found", CONFIGURATION),
        (400, 10109, "invalid operation on sealed stream", CONFIGURATION),
        (500, 10074, "replicas > 1 not supported in non-clustered mode", CONFIGURATION),
        (500, 10052, "subjects can not have wildcards", CONFIGURATION),
        (400, 10065, "subjects overlap with an existing stream", CONFIGURATION),
        # Not in the table: by the HTTP-like code.
        (500, 19999, "new in a later server", PASSING),
        (503, 19999, "new in a later server", PASSING),
        (429, 19999, "new in a later server", PASSING),
        (408, 19999, "new in a later server", PASSING),
        (400, 19999, "new in a later server", FINAL),
        (404, None, None, FINAL),
        (None, None, None, PASSING),
    ],
)
def test_class(code: int | None, err_code: int | None, description: str | None, expected: ErrorClass):
    """Each code is classed, and an unknown one by its HTTP-like code."""
    error = APIError(code=code, err_code=err_code, description=description)
    assert class_of(error) is expected
    assert is_passing(error) == (expected is PASSING)
    assert is_full(error) == (expected is FULL)
    answer = AnswerError(code=code or 0, err_code=err_code or 0, description=description or "")
    assert class_of(answer) is expected


def test_an_unanswered_request_passes():
    assert is_passing(ServiceUnavailableError())
    assert is_passing(ServerError(code=500))
    assert not is_passing(NotFoundError(code=404))


def test_an_operator_reads_what_to_do():
    """Where nothing passes by itself, and the request is not at fault, somebody has to act."""
    for err_code in (10002, 10023, 10047, 10077):
        assert advice(APIError(err_code=err_code)).endswith(".")
    for err_code in (10014, 10026, 10052, 10058, 10059, 10065, 10074, 10109, 10122):
        assert advice(APIError(err_code=err_code)).endswith(".")
    assert not advice(APIError(err_code=10167))


def test_a_stream_at_its_limit_is_no_full_disk():
    limit = APIError(code=503, err_code=10077, description="maximum bytes exceeded")
    disk = APIError(code=503, err_code=10077, description="no space left on device")
    assert is_at_limit(limit)
    assert not is_at_limit(disk)
    assert "disk" not in advice(limit)
    assert "disk" in advice(disk)


def test_conflicts_absences_and_names():
    assert is_conflict(APIError(err_code=10071))
    assert is_conflict(
        APIError(err_code=10164)
    )  # of a cluster, while a message for the subject is being stored
    assert not is_conflict(APIError(err_code=10163))
    assert all(is_absent(APIError(err_code=code)) for code in (10037, 10043, 10057))
    assert not is_absent(APIError(err_code=10059))
    assert is_name_in_use(APIError(err_code=10058))
