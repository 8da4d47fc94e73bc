"""An answer at the terminal: its text on stdout as it arrives, notes about it on stderr, all of it terminal-safe."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, TextIO

from penstock.cli.program_name import as_invoked
from penstock.cli.render.budget import refusing_limit_text
from penstock.cli.render.costs import cost_text
from penstock.cli.render.explanation import queue_text
from penstock.cli.render.guarded import blocked_text, guarded_lines, left_out_lines, unchecked_lines
from penstock.cli.render.retry_advice import retry_advice
from penstock.cli.render.table import shortened
from penstock.cli.render.terminal_safe import visible
from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract.reply import (
    Accepted,
    Adapted,
    AnswerEnd,
    Degraded,
    Delta,
    FailedAttempt,
    ReplyEvent,
    Restarted,
    Started,
    Usage,
    answer_end,
)
from penstock.errors import PenstockError, RequestFailed

__all__ = ["AnswerPrinter", "attempt_lines", "failure_text", "summary"]

_SHOWN_WAIT_MS: Final = 100
"""Shortest wait for quota that is shown; a share of a quota often takes some milliseconds."""
_SHOWN_WAIT_S: Final = 1.0
"""Estimated wait in seconds above which it is shown."""
_SHOWN_ATTEMPTS: Final = 8
_SHOWN_CHARACTERS: Final = 300
"""Longest part of a provider's message that is shown."""
_ENDS: Final[Mapping[AnswerEnd, str]] = {
    "output_limit": "the answer was cut off: it reached max_tokens, or the most that the model generates",
    "context_window": "the answer was cut off: it reached the end of the model's context window",
    "content_filter": "the answer was cut off by a content filter of the provider",
}


class AnswerPrinter:
    """Prints one reply, event by event; `reply` is set once it is complete.

    `print_deltas`: text is printed as it arrives, also text that a `restarted` event discards later. Without it, for a
    file or a pipe, only the complete answer is printed.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, indent: str = "", print_deltas: bool = True) -> None:
        self.reply: Reply | None = None
        self._builder = ReplyBuilder()
        self._out = out
        self._notes = notes
        self._indent = indent
        self._print_deltas = print_deltas
        self._at_line_start = True
        self._shown = False

    def show(self, event: ReplyEvent) -> None:
        """Raises RequestFailed on `failed`, after the end of the text line."""
        if isinstance(event, Accepted) and (event.estimated_wait_s or 0.0) > _SHOWN_WAIT_S:
            self.note(_waiting_text(event))
        elif isinstance(event, Restarted):
            self.note(f"restarted: {event.message or event.code}")
        elif isinstance(event, Started):
            self._notes_of(map(_degradation_text, event.degraded))
            self._notes_of(map(_adaptation_text, event.adapted))
        elif isinstance(event, Delta) and self._print_deltas:
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
            self._notes_of(_end_lines(self.reply.finish_reason))
            self._notes_of(guarded_lines(self.reply.guarded))
            self._notes_of(left_out_lines(self.reply.left_out))
            self._notes_of(unchecked_lines(self.reply.unchecked))

    def _notes_of(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.note(text)

    def note(self, text: str) -> None:
        """Print a note in brackets, on its own line."""
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
    """Role, model, attempts, timings, tokens, cost and id of a reply, on one line."""
    first = reply.timings.first_token_ms
    parts = [
        f"{reply.role} ({reply.why})" if reply.why else reply.role,
        reply.model,
        "1 attempt" if reply.attempts == 1 else f"{reply.attempts} attempts",
        *(
            []
            if reply.timings.waited_ms < _SHOWN_WAIT_MS
            else [f"waited {reply.timings.waited_ms:.0f} ms for quota or a retry"]
        ),
        *([] if first is None else [f"first token {first:.0f} ms"]),
        f"total {reply.timings.total_ms:.0f} ms",
        _tokens(reply.usage, estimated=reply.estimated),
        *(
            [cost_text(reply.cost_microusd, reply.unpriced_attempts)]
            if reply.cost_microusd or reply.unpriced_attempts
            else []
        ),
        f"id {reply.id}",
    ]
    return visible(" · ".join(parts))


def failure_text(error: PenstockError, *, account: str = "", user: str = "") -> str:
    """The error, whether and when to try again (D10), and the provider's message of each failed attempt.

    `account` and `user`: whose request it was; empty: not known.
    """
    lines = [f"{visible(str(error), lines=True)} ({error.code})"]
    if isinstance(error, RequestFailed):  # the message of every other error says when to try again
        if error.categories:
            lines.append(f"  The safety guard found: {visible(blocked_text(error.categories))}.")
        says_when = error.retry == "later" and "try again" in str(error).lower()
        if error.limit is not None:
            fits_later = error.retry != "never" and not says_when
            lines.append(f"  {refusing_limit_text(error.limit, fits_later=fits_later)}")
        if error.code == "account_disabled" and account:
            lines.append(f"  {_enable_advice(str(error), account, user)}")
        else:
            advice = retry_advice(error.code, error.retry, error.retry_after_s, error.attempts)
            lines += [] if says_when and advice.startswith("Try again") else [f"  {advice}"]
        lines += [f"  {line}" for line in attempt_lines(error.attempts)]
        lines.append(f"  request {visible(error.request_id)}")
    return "\n".join(lines)


def attempt_lines(attempts: Sequence[FailedAttempt]) -> list[str]:
    """A line for each of the last failed attempts; equal attempts in a row share a line."""
    texts = [(text, len(list(same))) for text, same in groupby(map(_attempt_text, attempts))]
    left_out = sum(times for _, times in texts[:-_SHOWN_ATTEMPTS])
    lines = [f"({left_out} earlier attempts)"] if left_out else []
    return lines + [
        text if times == 1 else f"{text} ({times} times)" for text, times in texts[-_SHOWN_ATTEMPTS:]
    ]


def _end_lines(finish_reason: str) -> list[str]:
    """What an answer may lack at its end; empty for a complete one."""
    end = answer_end(finish_reason)
    if end == "unknown":
        return [f"the answer may have been cut off: its finish reason {finish_reason!r} is unknown"]
    return [_ENDS[end]] if end in _ENDS else []


def _enable_advice(message: str, account: str, user: str) -> str:
    """The command that enables what is disabled, which only the ledger's message tells; for a key, how to find it."""
    if message.startswith(f"Requests of user '{user}' of account '{account}' "):
        part = f" --user {shlex.quote(visible(user))}"
    elif message.startswith(f"Requests of account '{account}' "):
        part = ""
    else:
        return retry_advice("account_disabled", "never", None)
    return as_invoked(f"Enable it first: `penstock budget enable --account {account}{part}`.")


def _waiting_text(accepted: Accepted) -> str:
    """The estimated wait, and the requests ahead."""
    place = "" if accepted.queue_position is None else f", {queue_text(accepted.queue_position)}"
    return f"waiting for about {accepted.estimated_wait_s:.0f} s{place}"


def _degradation_text(degraded: Degraded) -> str:
    """The reduction of the request, and its reason."""
    what = {
        "model": "another model than the first choice",
        "max_tokens": f"at most {degraded.after:,} tokens of answer instead of {degraded.before:,}",
        "messages": f"the last {degraded.after} messages instead of {degraded.before}",
    }[degraded.what]
    return f"{what}: {degraded.why}"


def _adaptation_text(adapted: Adapted) -> str:
    """The change of a parameter, and its reason."""
    sent = "not sent" if adapted.change == "omitted" else f"sent as {adapted.sent}"
    return f"{adapted.parameter} was {sent}" + (f": {adapted.why}" if adapted.why else "")


def _attempt_text(attempt: FailedAttempt) -> str:
    """One terminal-safe line."""
    status = None if attempt.status is None else f"HTTP {attempt.status}"
    what = ", ".join(part for part in (attempt.kind, status, attempt.code) if part)
    message = shortened(attempt.message, _SHOWN_CHARACTERS)
    return visible(f"{attempt.model} at {attempt.provider}: {what}" + (f": {message}" if message else ""))


def _tokens(usage: Usage, *, estimated: bool) -> str:
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    counted = f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"
    return f"about {counted}, estimated" if estimated else counted
