"""What a benchmark says on a machine that is too busy for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from openai import APITimeoutError

__all__ = ["BARE_TIMEOUT_S", "MachineTooBusy", "bare_call", "explain_stalls", "finished_rounds"]

BARE_TIMEOUT_S: Final = 60.0
"""For each step of a bare call. The 5 s that the SDK allows for a connection pass while it reads 64 streams at once."""

_STALL: Final = (
    "the benchmark stood still for %.1f s: other programs used the cores, or its own computing took so long. Times "
    "that were measured then are too long, CPU is right"
)
_Round = TypeVar("_Round")


class MachineTooBusy(Exception):
    """A call that everything is compared with took longer than `BARE_TIMEOUT_S`."""


@contextmanager
def bare_call() -> Iterator[None]:
    """Raises MachineTooBusy where the SDK times out."""
    try:
        yield
    except APITimeoutError as error:
        raise MachineTooBusy("the bare call timed out: the machine is too busy") from error


async def finished_rounds(count: int, measure: Callable[[], Awaitable[_Round]]) -> list[_Round]:
    """The rounds before one in which the bare call timed out. Raises MachineTooBusy where that is the first."""
    rounds: list[_Round] = []
    for number in range(1, count + 1):
        print(f"round {number} of {count} ...", file=sys.stderr)
        try:
            rounds.append(await measure())
        except MachineTooBusy as error:
            if not rounds:
                raise
            print(f"{error}; the figures are those of {len(rounds)} of {count} rounds", file=sys.stderr)
            break
    return rounds


def explain_stalls() -> None:
    """Say of a freeze of this process what it means for the figures."""
    logging.getLogger("penstock.bus.freezes").addFilter(_explained)


def _explained(record: logging.LogRecord) -> bool:
    record.msg = str(record.msg).replace("this process did not run for %.1f s", _STALL)
    return True
