"""The text of an answer at the terminal (D4, D6, D10)."""

from __future__ import annotations

import io

import pytest
from msgspec.structs import replace

from penstock.cli.render.answer import AnswerPrinter, failure_text, summary
from penstock.cli.render.times import duration_text
from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import Scope
from penstock.contract.reply import (
    Accepted,
    Adapted,
    Completed,
    Degraded,
    Delta,
    Failed,
    FailedAttempt,
    Failure,
    Restarted,
    Started,
    Timings,
    Usage,
)
from penstock.errors import NotAccepted, RequestFailed
from services.ledger.budget.refusals import disabled, whose

ESCAPES = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"
WRITTEN = r"\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e"


def accepted():
    return Accepted(
        id="r",
        seq=0,
        role="coding",
        complexity="complex",
        why="code",
        lane="interactive",
        deadline_ms=1,
        at_ms=0,
    )


@pytest.mark.parametrize(
    ("position", "wait_s", "note"),
    [
        (5, 12.4, "[waiting for about 12 s, behind 5 requests]\n"),
        (0, 2.0, "[waiting for about 2 s, as the next request]\n"),
        (3, 1.0, ""),
        (3, None, ""),
        (None, None, ""),
    ],
)
def test_e5_a_wait_above_a_second_is_noted(position, wait_s, note):
    out, notes = io.StringIO(), io.StringIO()
    event = replace(accepted(), queue_position=position, estimated_wait_s=wait_s)

    AnswerPrinter(out, notes).show(event)

    assert (out.getvalue(), notes.getvalue()) == ("", note)


def completed(**more):
    known = {
        "id": "r",
        "seq": 9,
        "attempt": 2,
        "role": "coding",
        "model": "m",
        "provider": "p",
        "finish_reason": "stop",
        "usage": Usage(input_tokens=1200, output_tokens=40),
        "cost_microusd": 31,
        "timings": Timings(first_token_ms=152.4, total_ms=480.0),
    }
    return Completed(**(known | more))


def delta(text: str):
    return Delta(id="r", seq=1, text=text)


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def notes():
    return io.StringIO()


def test_text_goes_to_stdout_as_it_arrives_and_ends_its_line(out, notes):
    answer = AnswerPrinter(out, notes)
    for event in (accepted(), delta("Hel"), delta("lo")):
        answer.show(event)
    assert out.getvalue() == "Hello"

    answer.show(completed())

    assert out.getvalue() == "Hello\n"
    assert not notes.getvalue()
    assert answer.reply is not None


def test_a_restart_is_noted_and_the_text_begins_again(out, notes):
    answer = AnswerPrinter(out, notes)
    for event in (
        accepted(),
        delta("half an ans"),
        Restarted(id="r", seq=2, code="provider_unavailable", message="the stream broke"),
        delta("whole"),
        completed(),
    ):
        answer.show(event)

    assert notes.getvalue() == "[restarted: the stream broke]\n"
    assert out.getvalue() == "half an ans\nwhole\n"
    assert answer.reply is not None
    assert answer.reply.text == "whole"


def test_d4_a_pipe_gets_the_complete_answer_or_nothing(out, notes):
    answer = AnswerPrinter(out, notes, print_deltas=False)
    broke_off = Restarted(id="r", seq=2, code="provider_unavailable", message="the stream broke")
    for event in (accepted(), delta("half an ans"), broke_off, delta("wh"), delta("ole")):
        answer.show(event)
    assert out.getvalue() == ""
    assert notes.getvalue() == "[restarted: the stream broke]\n"

    answer.show(completed())

    assert out.getvalue() == "whole\n"


def test_d5_each_degradation_is_noted(out, notes):
    degraded = (
        Degraded(rule="rate_limit", what="model", why="no quota is left of large"),
        Degraded(rule="high_latency", what="max_tokens", before=2000, after=1400, why="m is slow"),
        Degraded(rule="errors", what="messages", before=13, after=5, why="m fails"),
    )
    AnswerPrinter(out, notes).show(
        Started(id="r", seq=1, model="m", provider="p", worker="w", at_ms=0, degraded=degraded)
    )
    assert notes.getvalue().splitlines() == [
        "[another model than the first choice: no quota is left of large]",
        "[at most 1,400 tokens of answer instead of 2,000: m is slow]",
        "[the last 5 messages instead of 13: m fails]",
    ]


def test_each_adapted_parameter_is_noted(out, notes):
    adapted = (
        Adapted(parameter="max_tokens", change="renamed", sent="max_completion_tokens", why="m takes it so"),
        Adapted(parameter="temperature", change="omitted", why="m takes none"),
        Adapted(parameter="reasoning_effort", change="replaced", sent='"low"'),
        Adapted(parameter=ESCAPES, change="omitted", why="x\ny"),
    )
    AnswerPrinter(out, notes).show(
        Started(id="r", seq=1, model="m", provider="p", worker="w", at_ms=0, adapted=adapted)
    )
    assert notes.getvalue().splitlines() == [
        "[max_tokens was sent as max_completion_tokens: m takes it so]",
        "[temperature was not sent: m takes none]",
        '[reasoning_effort was sent as "low"]',
        f"[{WRITTEN} was not sent: x\\x0ay]",
    ]


def test_estimated_usage_is_marked_as_estimated(out, notes):
    answer = AnswerPrinter(out, notes)
    answer.show(completed(usage=Usage(input_tokens=96, output_tokens=12), estimated=True))
    assert answer.reply is not None
    assert " · about 96 tokens in, 12 out, estimated · " in summary(answer.reply)


def attempt(**more):
    known = {
        "model": "large",
        "provider": "openai",
        "kind": "refused",
        "status": 400,
        "code": "unsupported_value",
        "message": "Unsupported value:\n'temperature'",
    }
    return FailedAttempt(**(known | more))


def failed_with(*attempts):
    error = Failure(code="provider_refused", message="refused", retry="never", attempts=attempts)
    return failure_text(RequestFailed("r", error))


def test_every_failed_attempt_is_a_line_with_the_providers_message():
    timed_out = attempt(model="small", kind="first_token_timeout", status=None, code=None, message="")
    assert failed_with(attempt(), timed_out, timed_out, timed_out).splitlines() == [
        "refused (provider_refused)",
        "  The same request will fail again.",
        "  large at openai: refused, HTTP 400, unsupported_value: Unsupported value: 'temperature'",
        "  small at openai: first_token_timeout (3 times)",
        "  request r",
    ]


def test_the_latest_failed_attempts_are_shown_and_long_messages_cut():
    lines = failed_with(*(attempt(message=f"{number} " + "x" * 5_000) for number in range(50))).splitlines()
    assert len(lines) == 12
    assert lines[2] == "  (42 earlier attempts)"
    assert "unsupported_value: 49 xxx" in lines[-2]
    assert all(len(line) < 400 for line in lines)


def test_d10_a_failed_attempt_cannot_move_the_cursor():
    text = failed_with(attempt(model=ESCAPES, provider=ESCAPES, kind=ESCAPES, code=ESCAPES, message=ESCAPES))
    assert text.count(WRITTEN) == 5
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_an_answer_without_deltas_is_printed_at_its_end(out, notes):
    body = b'{"choices": [{"message": {"content": "All of it"}}]}'
    answer = AnswerPrinter(out, notes)
    answer.show(accepted())
    answer.show(completed(response=body))

    assert out.getvalue() == "All of it\n"


def test_every_line_is_indented(out, notes):
    answer = AnswerPrinter(out, notes, indent="> ")
    for event in (delta("a\n"), delta("b\nc"), completed()):
        answer.show(event)

    assert out.getvalue() == "> a\n> b\n> c\n"


def test_the_summary_names_role_model_attempts_timings_and_cost(out, notes):
    answer = AnswerPrinter(out, notes)
    answer.show(accepted())
    answer.show(completed())
    assert answer.reply is not None

    assert summary(answer.reply) == (
        "coding (code) · m · 2 attempts · first token 152 ms · total 480 ms · 1,200 tokens in, 40 out"
        " · $0.000031 · id r"
    )


@pytest.mark.parametrize(("microusd", "text"), [(0, "price unknown"), (31, "$0.000031 + price unknown")])
def test_f4_the_summary_says_that_a_price_is_unknown(out, notes, microusd, text):
    answer = AnswerPrinter(out, notes)
    answer.show(completed(cost_microusd=microusd, unpriced_attempts=1))
    assert answer.reply is not None
    assert f" · {text} · id r" in summary(answer.reply)


def test_the_summary_tells_the_wait_for_quota_from_the_time_of_the_provider(out, notes):
    answer = AnswerPrinter(out, notes)
    answer.show(completed(timings=Timings(waited_ms=36_020.4, first_token_ms=36_152.4, total_ms=36_480.0)))
    assert answer.reply is not None
    assert "waited 36020 ms for quota or a retry · first token 36152 ms" in summary(answer.reply)


def test_the_summary_leaves_out_a_wait_of_milliseconds(out, notes):
    answer = AnswerPrinter(out, notes)
    answer.show(completed(timings=Timings(waited_ms=4.0, first_token_ms=162.0, total_ms=489.0)))
    assert answer.reply is not None
    assert "waited" not in summary(answer.reply)


def test_a_failure_names_the_error_and_when_to_retry(out, notes):
    answer = AnswerPrinter(out, notes)
    answer.show(delta("half"))
    failed = Failed(
        id="r", seq=3, error=Failure(code="overloaded", message="full", retry="later", retry_after_s=10.0)
    )
    with pytest.raises(RequestFailed) as caught:
        answer.show(failed)

    text = failure_text(caught.value)
    assert out.getvalue() == "half\n"
    for part in ("full", "overloaded", "Try again in 10 s", "request r"):
        assert part in text


def test_a_failure_whose_message_says_when_to_retry_says_it_once():
    text = failure_text(NotAccepted("it was not accepted", "NATS does not answer."))
    assert text == "it was not accepted: NATS does not answer. Send it again in 5 s (internal)"


@pytest.mark.parametrize(
    ("retry_after_s", "text"),
    [(0.0, "in 1 s"), (0.5, "in 1 s"), (1.0, "in 1 s"), (1.2, "in 2 s"), (59.5, "in 60 s")],
)
def test_d10_the_retry_time_is_rounded_up(retry_after_s, text):
    error = Failure(code="overloaded", message="full", retry="later", retry_after_s=retry_after_s)
    assert text in failure_text(RequestFailed("r", error))


def test_d10_text_of_models_and_workers_cannot_move_the_cursor(out, notes):
    answer = AnswerPrinter(out, notes, indent="> ")
    answer.show(accepted())
    answer.show(Restarted(id="r", seq=1, code="internal", message=f"{ESCAPES}\nforged"))
    answer.show(delta(f"{ESCAPES}東京\u3000\t👩\u200d🔬\r"))
    answer.show(delta("\nend"))
    answer.show(completed(model=ESCAPES))
    assert answer.reply is not None

    assert out.getvalue() == f"> {WRITTEN}東京\u3000\t👩\u200d🔬\\x0d\n> end\n"
    assert notes.getvalue() == f"> [restarted: {WRITTEN}\\x0aforged]\n"
    assert WRITTEN in summary(answer.reply)
    assert WRITTEN in failure_text(
        RequestFailed("r", Failure(code="internal", message=ESCAPES, retry="later"))
    )


def test_d10_a_cancelled_request_may_be_sent_again():
    text = failure_text(RequestFailed("r-1", Failure(code="cancelled", message="by ada", retry="never")))

    assert "Send the request again" in text
    assert "will fail again" not in text


@pytest.mark.parametrize(
    ("code", "retry", "expected"),
    [
        ("provider_credentials", "later", "config check"),
        ("unknown_role", "never", "will fail again"),
        ("role_not_served", "later", "Try again later"),
        ("context_length_exceeded", "elsewhere", "another role"),
    ],
)
def test_d10_the_advice_follows_code_and_retry(code, retry, expected):
    text = failure_text(RequestFailed("r-1", Failure(code=code, message="no", retry=retry)))

    assert expected in text
    assert ("Try again later" in text) is (code == "role_not_served")


def test_d10_an_untrusted_certificate_has_to_be_corrected_before_another_try():
    untrusted = FailedAttempt(model="m", provider="p", kind="no_tls", message="name it as ca_file")
    silent = FailedAttempt(model="n", provider="q", kind="connection")

    def text_after(*attempts: FailedAttempt) -> str:
        failure = Failure(code="provider_unavailable", message="no", retry="later", attempts=attempts)
        return failure_text(RequestFailed("r-1", failure))

    assert "Correct the TLS connection first, as the message says" in text_after(untrusted, untrusted)
    assert "Try again" not in text_after(untrusted)
    assert "name it as ca_file" in text_after(untrusted)
    assert "Try again later" in text_after(untrusted, silent)


def test_f3_a_refusal_by_a_budget_names_the_limit_what_is_used_and_when_it_frees():
    limit = LimitStatus(
        scope="user",
        limit="microusd_per_day",
        allowed=10_000_000,
        spent=9_900_000,
        held=100_000,
        resets_at_ms=1_800_057_600_000,
    )
    failure = Failure(
        code="budget_exceeded", message="used up", retry="later", retry_after_s=46_000, limit=limit
    )
    assert failure_text(RequestFailed("r-1", failure)).splitlines() == [
        "used up (budget_exceeded)",
        (
            "  limit usd_per_day of the user: $9.90 of $10.00 spent, $0.10 held by requests in progress; "
            "resets at 2027-01-16 00:00:00 UTC"
        ),
        "  Try again in 13 h at the earliest.",
        "  request r-1",
    ]


def test_f3_a_refusal_whose_message_says_when_to_try_again_does_not_repeat_the_time():
    limit = LimitStatus(
        scope="user", limit="requests_per_minute", allowed=1, spent=1, resets_at_ms=1_800_057_600_000
    )
    message = "User ann may send 1 request per minute and has sent it. Try again at 17:07:00 (in 15 s)."
    failure = Failure(code="rate_limited", message=message, retry="later", retry_after_s=14.2, limit=limit)
    text = failure_text(RequestFailed("r-1", failure))
    assert text.lower().count("try again") == 1
    assert "resets" not in text
    assert "limit requests_per_minute of the user: 1 of 1 spent" in text


@pytest.mark.parametrize(
    ("scope", "advice"),
    [
        ("account", "Enable it first: `penstock budget enable --account shop`."),
        ("user", "Enable it first: `penstock budget enable --account shop --user 'ann b'`."),
        ("key", "Enable it first: `penstock budget show` tells what is disabled."),
    ],
)
def test_f3_what_is_disabled_is_named_in_the_command_that_enables_it(scope: Scope, advice: str):
    request = HoldRequest(id="h", account="shop", role="chat", picousd=1, tokens=1, deadline_ms=1)
    refused = disabled(request, whose(scope, "shop", "ann b"))
    failure = Failure(code="account_disabled", message=refused.message, retry="never")
    text = failure_text(RequestFailed("r-1", failure), account="shop", user="ann b")
    assert text.splitlines()[1] == f"  {advice}"


def test_f3_without_the_account_a_command_that_shows_what_is_disabled_is_named():
    failure = Failure(code="account_disabled", message="disabled", retry="never")
    assert "penstock budget show" in failure_text(RequestFailed("r-1", failure))


def test_f3_a_request_that_never_fits_is_told_no_time():
    limit = LimitStatus(scope="user", limit="microusd_per_day", allowed=1, resets_at_ms=1_800_057_600_000)
    failure = Failure(code="budget_exceeded", message="too expensive", retry="never", limit=limit)
    text = failure_text(RequestFailed("r-1", failure))
    assert "of $0.000001 spent" in text
    assert "resets" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (45, "45 s"), (120, "120 s"), (121, "3 min"), (7_201, "3 h"), (200_000, "3 days")],
)
def test_f3_a_duration_is_shown_in_its_largest_unit(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("reason", "note"),
    [
        *(
            (reason, "was cut off: it reached max_tokens")
            for reason in ("length", "MAX_TOKENS", "max_tokens")
        ),
        ("model_length", "was cut off: it reached the end of the model's context window"),
        ("CONTENT_FILTER", "was cut off by a content filter"),
        ("incomplete", "may have been cut off: its finish reason 'incomplete' is unknown"),
    ],
)
def test_d6_an_answer_that_was_cut_off_is_noted(reason, note):
    notes = io.StringIO()
    AnswerPrinter(io.StringIO(), notes).show(completed(finish_reason=reason))
    assert f"[the answer {note}" in notes.getvalue()


@pytest.mark.parametrize("reason", ["stop", "STOP", "tool_calls", "end_turn"])
def test_d6_a_whole_answer_has_no_note(reason):
    notes = io.StringIO()
    AnswerPrinter(io.StringIO(), notes).show(completed(finish_reason=reason))
    assert notes.getvalue() == ""
