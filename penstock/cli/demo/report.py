"""The table of the demo: the outcomes of its prompts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from penstock.cli.demo.prompts import DemoPrompt
from penstock.cli.render.table import shortened, table
from penstock.client.reply import Reply

__all__ = ["Outcome", "outcome_table"]

_TITLES = ("prompt", "role", "why", "model", "attempts", "first token", "total", "")
_WHY_COLUMNS = 40


class Outcome(Struct, frozen=True):
    """The reply to one prompt, or the reason for its absence."""

    prompt: DemoPrompt
    reply: Reply | None
    problem: str = ""

    @property
    def good(self) -> bool:
        return self.reply is not None and self.reply.role == self.prompt.expected

    @property
    def verdict(self) -> str:
        if self.reply is None:
            return f"failed: {self.problem}"
        return "ok" if self.good else f"expected {self.prompt.expected}"


def outcome_table(outcomes: Sequence[Outcome]) -> str:
    return table(_TITLES, [_row(outcome) for outcome in outcomes], right=frozenset({4, 5, 6}))


def _row(outcome: Outcome) -> tuple[str, ...]:
    reply = outcome.reply
    if reply is None:
        return (outcome.prompt.title, "-", "-", "-", "-", "-", "-", outcome.verdict)
    first = reply.timings.first_token_ms
    return (
        outcome.prompt.title,
        reply.role,
        shortened(reply.why, _WHY_COLUMNS),
        reply.model,
        str(reply.attempts),
        "-" if first is None else f"{first:.0f} ms",
        f"{reply.timings.total_ms:.0f} ms",
        outcome.verdict,
    )
