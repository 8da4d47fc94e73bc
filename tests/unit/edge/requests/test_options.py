"""Options of a request: `x-penstock-*` headers."""

from __future__ import annotations

import pytest

from penstock.contract.names import Lane
from services.edge.http.errors import HttpError
from services.edge.http.headers import Header
from services.edge.requests.options import RequestOptions, options_of, read_options


def options(headers: list[Header], lane: Lane | None = None) -> RequestOptions:
    return options_of(read_options(headers), lane=lane)


def test_k2_other_headers_change_nothing():
    headers = [(b"authorization", b"Bearer x"), (b"x-stainless-lang", b"python")]
    assert options(headers) == RequestOptions()


def test_k2_every_option_is_read():
    headers = {
        "x-penstock-rescue": "hold",
        "x-penstock-on-disconnect": "continue",
        "x-penstock-timeout-s": " 2.5 ",
        "x-penstock-lane": "batch",
        "x-penstock-degrade": "false",
        "x-penstock-user": "ada",
    }
    found = options([(name.encode(), value.encode()) for name, value in headers.items()])
    assert found == RequestOptions(
        rescue="hold", on_disconnect="continue", timeout_s=2.5, lane="batch", degrade=False, user="ada"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rescue", "never", "use error, hold, hold:1500"),
        ("rescue", "hold:", "use error, hold, hold:1500"),
        ("rescue", "hold:0", "use error, hold, hold:1500"),
        ("rescue", "hold:1s", "use error, hold, hold:1500"),
        ("rescue", "hold:100000", "use error, hold, hold:1500"),
        ("on-disconnect", "", "use one of cancel, continue"),
        ("timeout-s", "0", "greater than 0"),
        ("timeout-s", "-1", "greater than 0"),
        ("timeout-s", "nan", "greater than 0"),
        ("timeout-s", "inf", "greater than 0"),
        ("timeout-s", "soon", "greater than 0"),
        ("timeout-s", "\u0663", "greater than 0"),
        ("timeout-s", "1_0", "greater than 0"),
        ("timeout-s", "1e9", "at most 3600 in the interactive lane"),
        ("timeout-s", "3601", "at most 3600 in the interactive lane"),
        ("lane", "fast", "use one of interactive, batch"),
        ("degrade", "no", "use one of true, false"),
        ("resque", "hold", "did you mean x-penstock-rescue?"),
        ("collection", "docs", "did you mean x-penstock-rag?"),
        ("model", "large", "name it in model, a field of the body"),
        ("role", "coding", "name it in model, a field of the body"),
        ("zzz", "1", "use one of rescue"),
    ],
)
def test_d10_a_wrong_option_is_a_400_that_names_it(name: str, value: str, message: str):
    with pytest.raises(HttpError, match=message.replace("?", r"\?")) as refused:
        options([(f"x-penstock-{name}".encode(), value.encode())])
    assert refused.value.status == 400
    assert refused.value.param == f"x-penstock-{name}"


def test_e4_a_route_of_one_lane_has_its_limits_and_refuses_the_other():
    assert options([], lane="batch").lane == "batch"
    assert options([(b"x-penstock-timeout-s", b"7200")], lane="batch").timeout_s == 7200
    with pytest.raises(HttpError, match="at most 86400 in the batch lane"):
        options([(b"x-penstock-timeout-s", b"86401")], lane="batch")
    with pytest.raises(HttpError) as caught:
        options([(b"x-penstock-lane", b"interactive")], lane="batch")
    assert caught.value.param == "x-penstock-lane"


@pytest.mark.parametrize(
    ("header", "has_key", "cancels"),
    [
        (b"", False, True),
        (b"", True, False),
        (b"cancel", False, True),
        (b"cancel", True, True),
        (b"continue", False, False),
        (b"continue", True, False),
    ],
)
def test_d8_hanging_up_cancels_a_request_unless_it_is_to_be_read_later(
    header: bytes, *, has_key: bool, cancels: bool
):
    found = options([(b"x-penstock-on-disconnect", header)] if header else [])
    assert found.cancels_on_disconnect(can_be_read_later=has_key) == cancels


def test_h3_the_options_of_retrieval_are_read():
    found = options([(b"x-penstock-rag", b'{"collection":"docs"}'), (b"x-penstock-conversation", b"trip")])
    assert found == RequestOptions(rag='{"collection":"docs"}', conversation="trip")
    with pytest.raises(HttpError, match="no option 'topk'") as refused:
        options([(b"x-penstock-rag", b'{"collection":"docs","topk":1}')])
    assert refused.value.param == "x-penstock-rag"
