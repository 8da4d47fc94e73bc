"""Any response of a provider is read as an error in bounded time; wrappers and other fields do not change its kind."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.providers.errors.classify import failure_of_error_event, failure_of_status
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import ProviderErrorEvent
from tests.harness.suite.examples import examples
from tests.unit.worker.providers.errors.samples import SAMPLES, Sample

NOW_UNIX_S = 1_790_000_000.0
STATUSES = st.integers(300, 599)
KEYS = st.sampled_from(
    [
        *("error", "errors", "message", "msg", "detail", "details", "code", "type", "status", "param", "loc"),
        *("metadata", "raw", "headers", "retryDelay", "choices", "object", "reason", "innererror"),
        *("provider_name", "__type"),
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=40)
    | st.sampled_from(
        ["429", "insufficient_quota", '{"error":{"message":"x"}}', "try again in 7m12s", "\ud83d"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-remaining"]),
    st.text(max_size=20) | st.sampled_from(["0", "3, 2", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT"]),
)
UNRELATED = st.dictionaries(
    st.sampled_from(["request_id", "id", "user_id", "created", "x_trace", "doc_url", "timestamp", "n_ctx"]),
    st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=3),
)
OBJECTS = tuple(sample for sample in SAMPLES if isinstance(sample.body, dict) and "error" in sample.body)


def _is_sound(failure: ProviderFailure) -> None:
    error = failure.error
    assert error is not None
    assert len(error.message) <= 1000
    assert len(str(failure)) <= 500
    for text in (error.message, error.code or "", error.type or "", error.parameter or "", *error.codes):
        assert text.isprintable(), text
        assert text.encode() is not None
    wait_s = error.retry_after_s
    assert wait_s is None or 0 <= wait_s < float("inf")


@given(status=STATUSES, body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode), headers=HEADERS)
def test_any_bytes_are_read(status: int, body: bytes, headers: dict[str, str]) -> None:
    _is_sound(failure_of_status(status, body, headers, NOW_UNIX_S))


@given(status=STATUSES, value=JSON, cut=st.integers(0, 300))
def test_any_json_is_read_whole_or_truncated(status: int, value: Any, cut: int) -> None:
    body = json.dumps(value).encode()
    _is_sound(failure_of_status(status, body, {}, NOW_UNIX_S))
    _is_sound(failure_of_status(status, body[:cut], {}, NOW_UNIX_S))


@given(value=JSON)
def test_any_value_of_a_200_is_an_error_or_none(value: Any) -> None:
    error = error_in(value)
    if error is not None:
        assert error.message
        _is_sound(failure_of_error_event(ProviderErrorEvent(error)))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"error":' * 20_000,
        b'{"error":{"message":"' + b"x" * 100_000,
        json.dumps({"error": {"message": "<" * 100_000}}).encode(),
        b"<html>" + b"<a" * 60_000,
        b'{"detail":[' + b'{"msg":"x","loc":["body"]},' * 4_000,
        json.dumps({"error": [{"message": str(n)} for n in range(9_000)]}).encode(),
        json.dumps({"error": {"message": "try again in " * 5_000}}).encode(),
        json.dumps({"error": {"message": "model " * 10_000 + "limit " * 1_000}}).encode(),
        b"<html>" + b"<title" * 11_000,
        b"<html>" + b"<title>" * 9_000,
        gzip.compress(b"<html>" + b"<title" * 21_000, mtime=0),
        json.dumps({"message": "<html>" + "<title" * 10_000}).encode(),
        b"<html></style" + b" " * 60_000,
        b"<!--" + b" -->" * 16_000,
        b'{"x":' + (b'"message"' + b" " * 100) * 600,
    ],
    ids=lambda body: f"{len(body)} bytes {body[:16]!r}",
)
@pytest.mark.timeout(5)
def test_a_huge_error_is_read_in_bounded_time(body: bytes) -> None:
    for status in (400, 403, 404, 429, 500):
        _is_sound(failure_of_status(status, body, {}, NOW_UNIX_S))


FRAGMENTS = (
    *(
        "'",
        '"',
        "`",
        "“",
        "{'",
        '{"error":',
        "[{",
        "http://",
        "data:a/",
        "www.",
        "<title",
        "<h1>",
        "</style",
        "<!--",
    ),
    *(
        "model ",
        "models/",
        "deployment ",
        "api key ",
        "invalid ",
        "limit 1 ",
        "requested ",
        "violat ",
        "blocked by ",
    ),
    *(
        "exceed ",
        "context ",
        "try again in ",
        "1h",
        "account ",
        "property ",
        "x' ",
        "%25",
        "\\u00",
        "&#",
        "role ",
    ),
    *(
        "unsupported parameter ",
        '"a.',
        "credits ",
        "a.b-",
        "no endpoints ",
        "extra_forbidden ",
        "'code': '",
        "budget ",
    ),
)


@given(fragments=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=3), as_text=st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_repeated_fragments_are_read_in_bounded_time(fragments: list[str], *, as_text: bool) -> None:
    text = ("".join(fragments) * 60_000)[:60_000]
    body = text.encode() if as_text else json.dumps({"error": {"message": text}}).encode()
    began_s = time.process_time()
    failure = failure_of_status(400, body, {}, NOW_UNIX_S)
    failure.redact({"sk-abcdefghijklmnop1234567890"})
    assert time.process_time() - began_s < 0.25


def _wrapped(body: Any) -> dict[str, Any]:
    text = json.dumps(body)
    return {
        "bare": body,
        "in a list": [body],
        "in an error": body if "error" in body else {"error": body},
        "in a detail": {"detail": body},
        "in a message": {"error": {"message": text}},
        "in a message after text": {"error": {"message": f"Upstream error: {text}", "type": "upstream"}},
        "behind a router": {"error": {"message": "Provider returned error", "metadata": {"raw": text}}},
    }


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind}: {sample.source}")
def test_a_wrapper_around_an_error_does_not_change_its_kind(sample: Sample) -> None:
    body = sample.body[0] if isinstance(sample.body, list) else sample.body
    if not isinstance(body, dict):
        return
    for how, wrapped in _wrapped(body).items():
        failure = failure_of_status(sample.status, json.dumps(wrapped).encode(), {}, NOW_UNIX_S)
        assert failure.kind == sample.kind, how
        assert failure.error is not None
        assert sample.parameter in {None, failure.error.parameter}, how


@given(sample=st.sampled_from(OBJECTS), outside=UNRELATED, inside=UNRELATED)
def test_other_fields_beside_an_error_do_not_change_its_kind(
    sample: Sample, outside: dict[str, Any], inside: dict[str, Any]
) -> None:
    error = sample.body["error"]
    body = {**outside, **sample.body, "error": {**inside, **error} if isinstance(error, dict) else error}
    failure = failure_of_status(sample.status, json.dumps(body).encode(), {}, NOW_UNIX_S)
    assert failure.kind == sample.kind
