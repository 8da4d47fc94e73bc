"""`penstock run`: replace this process by one service."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from penstock.cli.local.python_child import code_path, service_argv

__all__ = ["run"]

_SERVER_PACKAGE: Final = "faststream"
"""A package that only `penstock[server]` installs."""


def run(service: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the service, which then handles signals and sets the exit code.

    Raises ModuleNotFoundError without the packages of `penstock[server]`.
    """
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise ModuleNotFoundError(name=_SERVER_PACKAGE)
    argv = service_argv(service, *arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **code_path(os.environ)})  # noqa: S606 - runs without a shell
