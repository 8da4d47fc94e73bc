"""The name of this command as the person typed it, so that what we tell them to type works."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

__all__ = ["as_invoked", "command_name"]

_NAME: Final = "penstock"


def command_name(argv0: str | None = None, search: str | None = None) -> str:
    """`penstock` where that finds the program that runs (`search`: instead of PATH), else its path from here."""
    program = Path(sys.argv[0] if argv0 is None else argv0)
    found = shutil.which(_NAME, path=search)
    if program.name != _NAME or (found is not None and os.path.realpath(found) == os.path.realpath(program)):
        return _NAME
    here = Path.cwd()
    whole = here / program
    return shlex.quote(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))


def as_invoked(text: str) -> str:
    """`text` with its commands, which stand in backquotes, as they can be typed here."""
    return text.replace(f"`{_NAME} ", f"`{command_name()} ")
