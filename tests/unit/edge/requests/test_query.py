"""D10: a misspelled query parameter is an error, and those that SDKs add are not."""

from __future__ import annotations

import pytest

from services.edge.http.errors import HttpError
from services.edge.openapi import operations
from services.edge.requests.query import known_query
from tests.unit.edge.auth.key_requests import received


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"starting_after=3&stream=true",
        b"include[]=reasoning.encrypted_content&include[0]=x&include=y",
        b"include_obfuscation=false&api-version=2025-01-01&beta=true",
    ],
)
def test_d10_parameters_of_the_route_and_of_sdks_are_taken(query: bytes):
    assert len(known_query(received(query=query), operations.GET_RESPONSE.parameters)) == bool(query) * (
        query.count(b"&") + 1
    )


@pytest.mark.parametrize(
    ("query", "param", "fix"),
    [
        (b"status=running", "status", "did you mean state?"),
        (b"limit=1&quux", "quux", "use limit, after, state, user"),
        (b"x" * 10_000, "x" * 80, "use limit"),
    ],
)
def test_d10_another_parameter_is_refused_with_the_one_that_is_meant(query: bytes, param: str, fix: str):
    with pytest.raises(HttpError) as refused:
        known_query(received(query=query), operations.LIST_JOBS.parameters)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert fix in refused.value.message
