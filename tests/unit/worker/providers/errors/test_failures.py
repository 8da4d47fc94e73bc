"""The message of a failure: one line, of bounded length, without keys."""

from __future__ import annotations

import json

import pytest

from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.failures import ProviderFailure


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_d2_a_redirect_is_a_server_error_with_any_body(status):
    failure = failure_of_status(status, b'{"error":{"code":"invalid_api_key"}}', {}, 0.0)
    assert failure.kind == "server_error"
    assert str(status) in str(failure)


def test_d10_a_redirect_is_named_in_the_message():
    assert str(failure_of_status(307, b"", {}, 0.0)) == "307: a redirect, which is not followed"


def test_a_deeply_nested_error_is_classified_by_its_status():
    assert failure_of_status(400, b'{"error":' + b"[" * 60_000, {}, 0.0).kind == "refused"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("one\n  two\r\n\tthree ", "one two three"), ("caf\udce9", "caf?")],
)
def test_d10_a_message_is_one_encodable_line(raw, expected):
    assert str(ProviderFailure("server_error", raw)) == expected


def test_d10_a_message_has_a_bounded_length():
    assert str(ProviderFailure("server_error", "x" * 9_000_000)) == "x" * 500


@pytest.mark.parametrize(
    ("raw", "expected"),
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
def test_d10_a_message_has_no_library_prefix(raw, expected):
    assert str(ProviderFailure("connection", raw)) == expected


KEY = "sk-veryverysecret0123456789"


@pytest.mark.parametrize("before", [0, 470, 480, 490, 495, 499, 600])
def test_a6_no_key_remains_in_a_message_even_truncated(before):
    failure = ProviderFailure("credentials", "x" * before + KEY + " is wrong")
    failure.redact({KEY, "another-key"})
    assert KEY[:6] not in str(failure)
    assert str(failure).startswith("x" * min(before, 490))


def test_d10_a_message_without_a_key_stays_unchanged():
    failure = ProviderFailure("refused", "400: nothing of the sort")
    failure.redact({KEY})
    assert str(failure) == "400: nothing of the sort"


@pytest.mark.parametrize("before", [0, 470, 480, 960, 985, 995, 1100])
def test_a6_no_key_remains_in_the_provider_error(before):
    body = json.dumps({"error": {"message": "x" * before + KEY, "code": KEY, "type": KEY, "param": KEY}})
    failure = failure_of_status(400, body.encode(), {}, 0.0)
    failure.redact({KEY})
    for text in (failure.error.message, failure.error.code, failure.error.type, *failure.error.codes):
        assert KEY[:6] not in text


def test_the_message_of_the_provider_behind_a_router_is_reported():
    raw = json.dumps({"error": {"message": "Out of tokens for today", "code": "quota"}})
    body = {
        "error": {
            "message": "Provider returned error",
            "code": 429,
            "metadata": {"raw": raw, "provider_name": "P"},
        }
    }
    failure = failure_of_status(429, json.dumps(body).encode(), {}, 0.0)
    assert str(failure) == "429: Provider returned error; Out of tokens for today (P)"
    assert failure.error.code == "quota"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html><head><title>502 Bad  Gateway</title></head><body>x</body></html>", "502: 502 Bad Gateway"),
        (b"<!DOCTYPE html><style>p{}</style><p>Down &amp; out", "502: Down & out"),
        (b"upstream connect error\nreset", "502: upstream connect error reset"),
        (b'{"error":{"message":"half \\ud83d of a pair"}}', "502: half \ufffd of a pair"),
        (b'{"detail":[{"loc":["body","n"],"msg":"too many"}]}', "502: n: too many"),
        (b'data: {"error":{"message":"busy"}}\n\n', "502: busy"),
        (b'{"error":{"message":"cut","input":"xxx', "502: cut"),
        (b"", "502: HTTP 502"),
    ],
)
def test_an_error_body_becomes_one_readable_line(body, expected):
    assert str(failure_of_status(502, body, {}, 0.0)) == expected
