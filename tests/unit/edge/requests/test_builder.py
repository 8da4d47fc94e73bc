"""The request on the bus, from a call, its options and its sender."""

from __future__ import annotations

import pytest
from msgspec import Raw

from penstock.runtime.api_keys.format import make_key
from services.edge.auth.identity import Identity
from services.edge.dialects.dialect import ChatCall
from services.edge.http.errors import HttpError
from services.edge.requests.builder import build
from services.edge.requests.options import RequestOptions

BODY = Raw(b'{"model": "coding"}')
WITHOUT_KEY = Identity(account="demo")
NOW_MS = 1_000_000


@pytest.mark.parametrize(
    ("model", "role", "complexity"),
    [
        ("auto", "auto", None),
        ("coding:complex", "coding", "complex"),
        ("auto:simple", "auto", "simple"),
        ("llama3:8b", "llama3:8b", None),
        ("llama3:8b:medium", "llama3:8b", "medium"),
        (":simple", ":simple", None),
        ("coding:", "coding:", None),
    ],
)
def test_b2_the_model_names_a_role_and_a_complexity(model: str, role: str, complexity: str | None):
    request = build(ChatCall(body=BODY, model=model), RequestOptions(), WITHOUT_KEY, "edge1", NOW_MS)
    assert (request.role, request.complexity) == (role, complexity)
    assert (request.client, request.rescue, request.body) == ("edge1", "restart", BODY)


@pytest.mark.parametrize(
    ("key", "header", "body", "user"),
    [("k", "h", "b", "k"), ("", "h", "b", "h"), ("", "", "b", "b"), ("", "", "", "")],
)
def test_j1_the_user_of_the_key_comes_before_that_of_the_request(key: str, header: str, body: str, user: str):
    call = ChatCall(body=BODY, model="auto", user=body)
    request = build(call, RequestOptions(user=header), Identity(account="demo", user=key), "edge1", NOW_MS)
    assert request.user == user


@pytest.mark.parametrize("place", ["user", "model"])
def test_k5_a_key_in_a_field_that_is_logged_is_refused(place: str):
    key = make_key()
    call = ChatCall(body=BODY, **{"model": "auto", place: f"my {key}"})
    with pytest.raises(HttpError) as refused:
        build(call, RequestOptions(), WITHOUT_KEY, "edge1", NOW_MS)
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
        build(call, options, identity, "edge1", NOW_MS)
    assert (refused.value.code, refused.value.param) == ("misplaced_api_key", "user")


def test_c3_a_timeout_is_a_deadline():
    options = RequestOptions(timeout_s=5, lane="batch", degrade=False)
    request = build(ChatCall(body=BODY, model="auto"), options, WITHOUT_KEY, "edge1", NOW_MS)
    assert request.deadline_ms == NOW_MS + 5_000
    assert (request.lane, request.degrade) == ("batch", False)
