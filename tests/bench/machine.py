"""What the figures were measured with: the interpreter, its build, and the machine."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from typing import Any

__all__ = ["is_optimised", "machine", "machine_line"]


def is_optimised(configure_arguments: str, prefix: str) -> bool:
    """Whether an interpreter was compiled with the profile of a test run, which makes it faster.

    Distributions do so with build rules of their own, without the option of `configure`; theirs is in /usr.
    """
    return "--enable-optimizations" in configure_arguments or prefix == "/usr"


def machine() -> dict[str, Any]:
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return {
        "python": platform.python_version(),
        "python_optimised": is_optimised(arguments, sys.base_prefix),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def machine_line(found: dict[str, Any]) -> str:
    build = "an optimised build" if found["python_optimised"] else "NOT an optimised build, slower"
    return f"Python {found['python']} ({build}), {found['cores']} cores, load {found['load']}"
