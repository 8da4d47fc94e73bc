"""A router and a worker of the role chat, whose only model `m-chat` is a scripted provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import ScriptedProvider

__all__ = ["scripted_system"]


@contextmanager
def scripted_system(
    directory: Path,
    provider: ScriptedProvider,
    sections: Mapping[str, Any],
    provider_keys: Mapping[str, Any] | None = None,
) -> Iterator[System]:
    """`sections` of the catalogue, and `provider_keys` beside the address of its provider."""
    config = yaml.safe_load(catalogue(**sections))
    config["providers"]["simulator"] |= {"base_url": provider.url, **(provider_keys or {})}
    with shared_system(directory, "chat", config=yaml.safe_dump(config)) as running:
        yield running
