"""The name under which the user ran this program, so that commands in messages can be copied."""

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
    """`penstock` where PATH (or `search`) leads to this program, else its path relative to the working directory."""
    program = Path(sys.argv[0] if argv0 is None else argv0)
    found = shutil.which(_NAME, path=search)
    if program.name != _NAME or (found is not None and os.path.realpath(found) == os.path.realpath(program)):
        return _NAME
    here = Path.cwd()
    whole = here / program
    return shlex.quote(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))


def as_invoked(text: str) -> str:
    """`text` with the name in its commands, which stand in backquotes, replaced by `command_name`."""
    return text.replace(f"`{_NAME} ", f"`{command_name()} ")
