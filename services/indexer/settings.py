"""What the indexer reads from its environment beside the settings of every service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.retrieval import Store
from penstock.runtime.config.settings import SOURCE

__all__ = ["store_url"]

_LOCATION: Final = "PENSTOCK_INDEX_LOCATION"
"""In place of `retrieval.store.location`, for one deployment of a catalogue."""


def store_url(store: Store, env: Mapping[str, str]) -> str:
    """The address of the store. Raises ConfigurationRefused where it is not configured."""
    if store.kind == "lancedb":
        return env.get(_LOCATION) or store.location
    url = env.get(store.url_env)
    if not url:
        fix = "set it to the URL of the database, as postgresql://user:password@host/name"
        problem = "is not set, and retrieval.store.kind is postgres"
        raise ConfigurationRefused(SOURCE, [Problem(key=store.url_env, problem=problem, fix=fix)])
    if not url.startswith(("postgresql://", "postgres://")):
        fix = "write postgresql://user:password@host/name"
        raise ConfigurationRefused(
            SOURCE, [Problem(key=store.url_env, problem="is not the URL of a PostgreSQL database", fix=fix)]
        )
    return url
