"""The command and environment of a service process: this interpreter and this code, in any working directory."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

__all__ = ["SERVICES", "code_path", "service_argv"]

SERVICES = ("router", "worker", "edge", "ledger", "guard", "indexer", "encoder", "simulator")

_CODE = Path(__file__).resolve().parents[3]


def service_argv(service: str, *arguments: str) -> tuple[str, ...]:
    """`-P` keeps a folder named `services` in the working directory from being imported instead."""
    return (sys.executable, "-P", "-m", f"services.{service}", *arguments)


def code_path(env: Mapping[str, str]) -> dict[str, str]:
    """The PYTHONPATH with which a child finds this code; empty when the child's own variables suffice.

    Entries that would hide `services` or `penstock` are left out: `-P` does not cover PYTHONPATH.
    """
    entries = env["PYTHONPATH"].split(os.pathsep) if env.get("PYTHONPATH") else []
    kept = [entry for entry in entries if not _hides_this_code(Path(entry))]
    if Path(sysconfig.get_path("purelib")).resolve() != _CODE:
        return {"PYTHONPATH": os.pathsep.join((str(_CODE), *kept))}
    return {} if kept == entries else {"PYTHONPATH": os.pathsep.join(kept)}


def _hides_this_code(folder: Path) -> bool:
    """Whether Python, with `folder` in PYTHONPATH, would import another `services` or `penstock` from it.

    `services` is a namespace package: a folder of that name without `__init__.py` hides only the services it has.
    """
    if folder.resolve() == _CODE:
        return False
    modules = ("services", "penstock", *(f"services/{service}" for service in SERVICES))
    return any((folder / f"{name}{end}").is_file() for name in modules for end in (".py", "/__init__.py"))
