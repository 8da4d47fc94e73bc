"""The import of nats-py without aiohttp, which it loads for WebSocket addresses."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Final, cast

__all__ = ["import_nats_without_aiohttp"]

_TRANSPORT: Final = "nats.aio.transport"


def import_nats_without_aiohttp() -> None:
    """Import nats-py as if aiohttp were not installed, which saves 15 MB and 150 modules.

    For a process of one thread, before anything else imports nats-py. `nats_patches.allow_web_sockets` undoes it.
    """
    if _TRANSPORT in sys.modules or "aiohttp" in sys.modules:
        return
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    modules["aiohttp"] = None
    try:
        importlib.import_module(_TRANSPORT)
    finally:
        del modules["aiohttp"]
