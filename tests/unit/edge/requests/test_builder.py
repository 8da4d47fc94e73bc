"""The request on the bus, from a call, its options and its sender."""

from __future__ import annotations

import pytest
from msgspec import Raw

from penstock.runtime.api_keys.format import make_key
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import ChatCall
from services.edge.http.errors import HttpError
from services.edge.listing.target import Target
from services.edge.requests.builder import build
from services.edge.requests.options import RequestOptions

BODY = Raw(b'{"model": "coding"}')
OPTIONS = RequestOptions()
WITHOUT_KEY = Identity(account="demo")
NOW_MS = 1_000_000


def test_b2_the_target_is_that_of_the_request():
    call = ChatCall(body=BODY, model="coding:complex")
    request = build(call, Target(role="coding", complexity="complex"), OPTIONS, WITHOUT_KEY, "edge1", NOW_MS)
    assert (request.role, request.model, request.complexity) == ("coding", "", "complex")
    assert (request.client, request.rescue, request.body) == ("edge1", "restart", BODY)
    request = build(call, Target(model="gpt-4o"), OPTIONS, WITHOUT_KEY, "edge1", NOW_MS)
    assert (request.role, request.model, request.complexity) == ("auto", "gpt-4o", None)


@pytest.mark.parametrize(
    ("key", "header", "body", "user"),
    [("k", "h", "b", "k"), ("", "h", "b", "h"), ("", "", "b", "b"), ("", "", "", "")],
)
def test_j1_the_user_of_the_key_comes_before_that_of_the_request(key: str, header: str, body: str, user: str):
    call = ChatCall(body=BODY, model="auto", user=body)
    request = build(
        call, Target(), RequestOptions(user=header), Identity(account="demo", user=key), "edge1", NOW_MS
    )
    assert request.user == user


@pytest.mark.parametrize("place", ["user", "model"])
def test_k5_a_key_in_a_field_that_is_logged_is_refused(place: str):
    key = make_key()
    call = ChatCall(body=BODY, **{"model": "auto", place: f"my {key}"})
    with pytest.raises(HttpError) as refused:
        build(call, Target(), OPTIONS, WITHOUT_KEY, "edge1", NOW_MS)
    assert (refused.value.status, refused.value.param) == (400, place)
    assert key[13:] not in refused.value.message


@pytest.mark.parametrize(
    ("options", "identity"),
    [
        (RequestOptions(), Identity(account="demo", user="ada")),
        (RequestOptions(user="ada"), WITHOUT_KEY),
    ],
    ids=("user of the key", "user of a header"),
)
def test_k5_a_key_as_user_of_the_body_is_refused_whoever_the_user_is(
    options: RequestOptions, identity: Identity
):
    call = ChatCall(body=BODY, model="auto", user=make_key())
    with pytest.raises(HttpError) as refused:
        build(call, Target(), options, identity, "edge1", NOW_MS)
    assert (refused.value.code, refused.value.param) == ("misplaced_api_key", "user")


def test_c3_a_timeout_is_sent_as_a_duration():
    options = RequestOptions(timeout_s=5, lane="batch", degrade=False)
    request = build(ChatCall(body=BODY, model="auto"), Target(), options, WITHOUT_KEY, "edge1", NOW_MS)
    assert (request.timeout_s, request.deadline_ms) == (5, None)
    assert (request.lane, request.degrade) == ("batch", False)
