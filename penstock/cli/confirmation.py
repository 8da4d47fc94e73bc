"""A question before something is deleted for good."""

from __future__ import annotations

import sys

from penstock.cli.errors import CommandError

__all__ = ["confirmed"]


def confirmed(question: str) -> bool:
    """Ask for confirmation at the terminal; True for yes. Raises CommandError where there is no terminal."""
    if not sys.stdin.isatty():
        raise CommandError("the confirmation needs a terminal; add --yes to delete without it")
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:  # Ctrl-D
        print()
        return False
