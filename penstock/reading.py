"""How reply events are read, from wherever they come: in order, each once, nothing from a replaced sender."""

from __future__ import annotations

from typing import Literal

from schemas.reply import TERMINAL, ReplyEvent, first_seq

__all__ = ["Reading"]


class Reading:
    """The position of one reader in one reply. Source of the rules: schemas/reply.py."""

    def __init__(self, after_seq: int = -1) -> None:
        self.last_seq = after_seq
        self.ended = False

    def judge(self, event: ReplyEvent) -> Literal["next", "old", "gap"]:
        """next: take it. old: drop it. gap: something before it was missed."""
        if self.ended or event.seq <= self.last_seq:
            return "old"
        if event.seq == self.last_seq + 1 or event.seq == first_seq(event.attempt):
            return "next"
        return "gap"

    def take(self, event: ReplyEvent) -> None:
        """The event has been handed on."""
        self.last_seq = event.seq
        self.ended = isinstance(event, TERMINAL)
