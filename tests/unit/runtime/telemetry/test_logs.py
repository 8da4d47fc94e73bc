"""J4: one JSON object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from penstock.runtime.api_keys.format import make_key
from penstock.runtime.telemetry.logs import JsonFormatter, reset_trace, set_trace, written_time


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


@pytest.mark.parametrize("unix_s", [0.0, 1.0, 1_790_000_000.9999, 1_790_000_001.25, 4_000_000_000.001953125])
def test_a_time_is_written_as_iso_8601_in_utc(unix_s: float):
    expected = datetime.fromtimestamp(int(unix_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds")
    assert written_time(unix_s) == expected


def test_j4_the_lines_of_a_process_have_what_the_library_fills_in():
    program = """
import logging
from prometheus_client import CollectorRegistry
from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.telemetry.logs import LogMetrics, configure

configure("router", "router-1", "info", LogMetrics(CollectorRegistry()))
log = rate_limited_logger("penstock.any")
log.debug("not written")
log.info("%d and %s", 1, "two")
log.warning("by name: %(a)s", {"a": 3})
log.warning("with %r", {})
log.log(logging.ERROR, "fields", extra={"fields": {"model": "m"}})
try:
    raise ValueError("the reason")
except ValueError:
    log.exception("failed", stack_info=True)
logging.captureWarnings(True)
import warnings
warnings.warn("from a library")
logging.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [json.loads(each) for each in done.stderr.splitlines()]
    said = [(each["level"], each["message"]) for each in lines]
    assert said[:5] == [
        ("info", "1 and two"),
        ("warning", "by name: 3"),
        ("warning", "with {}"),
        ("error", "fields"),
        ("error", "failed"),
    ]
    assert lines[3]["model"] == "m"
    assert "ValueError: the reason" in lines[4]["exception"]
    assert "from a library" in said[5][1]
    assert datetime.fromisoformat(lines[0]["at"]).tzinfo is not None


def test_j4_a_handler_of_a_library_writes_its_own_format():
    program = """
import logging, sys
from prometheus_client import CollectorRegistry
from penstock.runtime.telemetry.logs import LogMetrics, configure

configure("router", "router-1", "info", LogMetrics(CollectorRegistry()))
handler = logging.StreamHandler(sys.stdout)
form = "%(asctime)s %(filename)s %(lineno)s %(funcName)s %(process)s %(threadName)s %(msecs)s %(message)s"
handler.setFormatter(logging.Formatter(form))
log = logging.getLogger("library")
log.addHandler(handler)
log.addFilter(lambda record: bool(repr(record)))
log.warning("heard")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" heard\n")
    assert [json.loads(each)["message"] for each in done.stderr.splitlines()] == ["heard"]
