from __future__ import annotations

import pytest

from services.worker.calls.status_errors import failure_of_status
from services.worker.failures import ProviderFailure


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_an_error_of_the_server_whatever_it_says__d2(status):
    failure = failure_of_status(status, b'{"error":{"code":"invalid_api_key"}}', {}, 0.0)
    assert failure.kind == "server_error"
    assert str(status) in str(failure)


def test_a_redirect_says_what_it_is__d10():
    assert str(failure_of_status(307, b"", {}, 0.0)) == "307: a redirect, which is not followed"


def test_an_error_nested_too_deeply_is_still_the_error_of_its_status():
    assert failure_of_status(400, b'{"error":' + b"[" * 60_000, {}, 0.0).kind == "refused"


@pytest.mark.parametrize(
    ("said", "heard"),
    [("one\n  two\r\n\tthree ", "one two three"), ("x" * 9_000_000, "x" * 500), ("caf\udce9", "caf?")],
)
def test_a_message_is_one_line_of_bounded_length_that_can_be_encoded__d10(said, heard):
    assert str(ProviderFailure("server_error", said)) == heard


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


KEY = "sk-veryverysecret0123456789"


@pytest.mark.parametrize("before", [0, 470, 480, 490, 495, 499, 600])
def test_no_key_stands_in_a_message_not_even_one_that_was_cut_off__a6(before):
    failure = ProviderFailure("credentials", "x" * before + KEY + " is wrong")
    failure.hide({KEY, "another-key"})
    assert KEY[:6] not in str(failure)
    assert str(failure).startswith("x" * min(before, 490))


def test_what_holds_no_key_stays_as_it_is__d10():
    failure = ProviderFailure("refused", "400: nothing of the sort")
    failure.hide({KEY})
    assert str(failure) == "400: nothing of the sort"
