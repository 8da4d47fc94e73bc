"""An answer at the terminal: text to stdout as it comes, what happens to it on stderr.

Whatever a model, a provider or a worker wrote, the terminal gets text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Final, TextIO

from penstock.cli.render.table import shortened
from penstock.cli.render.terminal_safe import visible
from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract.errors import ErrorCode, Retry
from penstock.contract.reply import (
    Adapted,
    Degraded,
    Delta,
    FailedAttempt,
    ReplyEvent,
    Restarted,
    Started,
    Usage,
)
from penstock.errors import PenstockError, RequestFailed

__all__ = ["AnswerText", "advice", "attempt_lines", "failure_text", "money", "summary"]

_RETRY: dict[Retry, str] = {
    "never": "The same request will fail again.",
    "later": "Try again later.",
    "elsewhere": "It may succeed in another role: --role.",
}
_CANCELLED = "Ask again if it is wanted after all."
_SHOWN_ATTEMPTS: Final = 8
_SHOWN_CHARACTERS: Final = 300
"""Of a provider's message."""


class AnswerText:
    """Shows one reply, event by event; `reply` is there once it is complete.

    `as_it_comes`: half an answer too, which a person sees being forgotten. A file or a program gets it whole or not at
    all: nobody tells it where the next one begins.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, indent: str = "", as_it_comes: bool = True) -> None:
        self.reply: Reply | None = None
        self._builder = ReplyBuilder()
        self._out = out
        self._notes = notes
        self._indent = indent
        self._as_it_comes = as_it_comes
        self._at_line_start = True
        self._shown = False

    def show(self, event: ReplyEvent) -> None:
        """Raises RequestFailed on `failed`, with the line of text ended."""
        if isinstance(event, Restarted):
            self.note(f"starting again: {event.message or event.code}")
        elif isinstance(event, Started):
            for each in event.degraded:
                self.note(_degraded_text(each))
            for adapted in event.adapted:
                self.note(_adapted_text(adapted))
        elif isinstance(event, Delta) and self._as_it_comes:
            self._write(event.text)
        try:
            self.reply = self._builder.add(event)
        except RequestFailed:
            self._end_line()
            raise
        if self.reply is not None:
            if not self._shown:
                self._write(self.reply.text)
            self._end_line()

    def note(self, text: str) -> None:
        """A remark in brackets, on a line of its own."""
        self._end_line()
        self._notes.write(f"{self._indent}[{visible(text)}]\n")
        self._notes.flush()

    def _write(self, text: str) -> None:
        if not text:
            return
        self._shown = True
        before = self._indent if self._at_line_start else ""
        self._at_line_start = text.endswith("\n")
        body = visible(text, lines=True).removesuffix("\n").replace("\n", f"\n{self._indent}")
        self._out.write(before + body + ("\n" if self._at_line_start else ""))
        self._out.flush()

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._out.write("\n")
            self._out.flush()
        self._at_line_start = True


def summary(reply: Reply) -> str:
    """One line: how the answer came about."""
    first = reply.timings.first_token_ms
    parts = [
        f"{reply.role} ({reply.why})" if reply.why else reply.role,
        reply.model,
        "1 attempt" if reply.attempts == 1 else f"{reply.attempts} attempts",
        *([] if first is None else [f"first token {first:.0f} ms"]),
        f"total {reply.timings.total_ms:.0f} ms",
        _tokens(reply.usage, estimated=reply.estimated),
        *([money(reply.cost_microusd)] if reply.cost_microusd else []),
        f"id {reply.id}",
    ]
    return visible(" · ".join(parts))


def failure_text(error: PenstockError) -> str:
    """What happened, whether to try again, and when (D10), and what the provider of each failed attempt said."""
    lines = [
        f"{visible(str(error), lines=True)} ({error.code})",
        f"  {advice(error.code, error.retry, error.retry_after_s)}",
    ]
    if isinstance(error, RequestFailed):
        lines += [f"  {line}" for line in attempt_lines(error.attempts)]
        lines.append(f"  request {visible(error.request_id)}")
    return "\n".join(lines)


def attempt_lines(attempts: Sequence[FailedAttempt]) -> list[str]:
    """A line for each failed attempt, the latest ones where there are many; the same several times in a row is one."""
    told = [(text, len(list(same))) for text, same in groupby(map(_attempt_text, attempts))]
    left_out = sum(times for _, times in told[:-_SHOWN_ATTEMPTS])
    lines = [f"({left_out} earlier attempts)"] if left_out else []
    return lines + [
        text if times == 1 else f"{text} ({times} times)" for text, times in told[-_SHOWN_ATTEMPTS:]
    ]


def advice(code: ErrorCode, retry: Retry, retry_after_s: float | None) -> str:
    """Whether to try again, and when."""
    when = "" if retry_after_s is None else f" In {_whole(retry_after_s)} s at the earliest."
    return (_CANCELLED if code == "cancelled" else _RETRY[retry]) + when


def money(microusd: int) -> str:
    return f"${microusd / 1_000_000:.6f}".rstrip("0").rstrip(".")


def _degraded_text(degraded: Degraded) -> str:
    """What the answer was given less of, and why."""
    what = {
        "model": "another model than the first choice",
        "max_tokens": f"at most {degraded.after:,} tokens of answer instead of {degraded.before:,}",
        "messages": f"the last {degraded.after} messages instead of {degraded.before}",
    }[degraded.what]
    return f"{what}: {degraded.why}"


def _adapted_text(adapted: Adapted) -> str:
    """What the model was sent instead of a parameter, and why."""
    sent = "not sent" if adapted.change == "omitted" else f"sent as {adapted.sent}"
    return f"{adapted.parameter} was {sent}" + (f": {adapted.why}" if adapted.why else "")


def _attempt_text(attempt: FailedAttempt) -> str:
    """One line, fit for a terminal."""
    status = None if attempt.status is None else f"HTTP {attempt.status}"
    what = ", ".join(part for part in (attempt.kind, status, attempt.code) if part)
    message = shortened(attempt.message, _SHOWN_CHARACTERS)
    return visible(f"{attempt.model} at {attempt.provider}: {what}" + (f": {message}" if message else ""))


def _whole(seconds: float) -> int:
    """Rounded up, for whoever comes too early is sent away again."""
    return max(math.ceil(seconds), 1)


def _tokens(usage: Usage, *, estimated: bool) -> str:
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    counted = f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"
    return f"about {counted}, estimated" if estimated else counted
