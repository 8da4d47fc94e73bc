"""Providers whose keys are not set."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.secrets import effective_keys

__all__ = ["missing_keys"]


def missing_keys(catalogue: Catalogue, env: Mapping[str, str]) -> list[str]:
    """A note for each. No mistake of the file, but its requests would fail: said now, not by the provider."""
    return [
        f"Note: provider {name} has no key: set {' or '.join(provider.api_key_env)}."
        for name, provider in catalogue.providers.items()
        if provider.api_key_env
        and not effective_keys(provider.api_key_env, env.get("PENSTOCK_SECRETS_DIR") or None, env)
    ]
