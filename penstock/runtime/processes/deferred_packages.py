"""Packages whose `__init__` runs when one of its names is used, and not when a module below the package is imported.

An SDK imports the classes of all answers of its API, hundreds of modules, of which a worker uses none; LanceDB imports
a client for a server that an indexer does not have.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType

__all__ = ["defer_packages"]

_running = threading.RLock()


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> object:
        """Called for a name that the package does not have yet."""
        if name.startswith("__") or find_spec(f"{self.__name__}.{name}") is not None:
            raise AttributeError(name)  # `from package import module` then imports the module
        with _running:
            if isinstance(self, _Deferred):
                self.__class__ = ModuleType  # type: ignore[assignment]
                _run_init(self, self.__spec__)
        return getattr(self, name)


def _run_init(package: ModuleType, spec: ModuleSpec | None) -> None:
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(package)


def defer_packages(*names: str) -> None:
    """Let the `__init__` of these packages run at the first use of one of its names, other than a module's.

    A package comes after the one that contains it. Nothing is done about one that is missing or was imported before.
    """
    for name in names:
        spec = None if name in sys.modules else find_spec(name)
        if spec is None:
            continue
        package = module_from_spec(spec)
        package.__class__ = _Deferred
        sys.modules[name] = package
        parent, _, own_name = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own_name, package)
