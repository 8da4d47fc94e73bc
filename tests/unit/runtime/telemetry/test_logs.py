"""J4: one JSON object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime

import pytest

from penstock.runtime.api_keys.format import make_key
from penstock.runtime.telemetry.logs import JsonFormatter, reset_trace, set_trace


def line(message: str, *args: object, fields: object = None, exc_info: object = None) -> dict[str, object]:
    record = logging.LogRecord("penstock", logging.WARNING, __file__, 1, message, args, exc_info)
    if fields is not None:
        record.fields = fields
    text = JsonFormatter("router", "router-1").format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_has_time_service_and_message():
    said = line("took %d ms\nand a half", 7)
    assert said | {"at": ""} == {
        "at": "",
        "level": "warning",
        "service": "router",
        "instance": "router-1",
        "message": "took 7 ms\nand a half",
    }
    assert datetime.fromisoformat(said["at"]).tzinfo is not None


def test_k5_a_line_holds_no_api_key():
    key, cut_off = make_key(), make_key()[:30]
    error = ValueError(f"bad {key}")
    fields = {"user": key, key: 1}
    text = json.dumps(line("got %s\n%s", key, cut_off, fields=fields, exc_info=(ValueError, error, None)))
    assert key[13:] not in text
    assert cut_off[13:] not in text
    assert text.count(key[:13]) == 4, "the prefix tells which key it was"


def test_fields_stand_beside_the_message():
    said = line("done", fields={"model": "m", "tokens": 3, "latency_ms": 1.5, "error": None})
    assert (said["model"], said["tokens"], said["latency_ms"], said["error"]) == ("m", 3, 1.5, None)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"\xff",
        ValueError("x"),
        float("nan"),
        2**70,
        {1: 2},
        {object(): 1},
        "\udcff",
        ["\ud800"],
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
def test_a_line_with_any_value_is_logged(value: object):
    assert line("odd", fields={"value": value})["message"] == "odd"


def test_text_that_is_not_valid_unicode_is_logged():
    assert "odd" in str(line("odd \udcff %s", "\ud800")["message"])


def fail() -> None:
    raise ValueError("the reason \udcff")


def test_an_exception_is_logged_with_its_traceback():
    try:
        fail()
    except ValueError:
        said = line("failed", exc_info=sys.exc_info())
    assert "ValueError: the reason" in str(said["exception"])
    assert "Traceback" in str(said["exception"])


def test_j4_a_line_has_the_trace_id_of_its_request_until_it_is_reset():
    token = set_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert line("routed")["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    reset_trace(token)
    assert "trace_id" not in line("idle")


@pytest.mark.parametrize("traceparent", [None, "", "nonsense", "00-" + "x" * 52])
def test_j4_an_invalid_traceparent_adds_no_trace_id(traceparent: str | None):
    token = set_trace(traceparent)
    assert "trace_id" not in line("routed")
    reset_trace(token)
