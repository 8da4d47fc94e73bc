"""Reads keys from the environment and a directory of secrets (REQUIREMENTS A6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.secrets import SecretFile, check_secrets_dir, key_dates, read_secret
from penstock.runtime.config.settings import Settings
from services.worker.credentials.keyring import Keyring

__all__ = ["open_keyring", "providers_of", "read_files"]


def providers_of(catalogue: Catalogue, roles: Iterable[Role]) -> list[str]:
    """The providers of the models in the chains of these roles."""
    models = dict.fromkeys(model for role in roles for model in catalogue.roles[role].chain)
    return list(dict.fromkeys(catalogue.models[model].provider for model in models))


def open_keyring(
    catalogue: Catalogue, roles: Sequence[Role], settings: Settings, env: Mapping[str, str]
) -> Keyring:
    """The keys of the providers that these roles use; raises ConfigurationRefused for an unreadable directory of
    secrets and for an invalid date.
    """
    check_secrets_dir(settings.secrets_dir)
    names = [
        name
        for provider in providers_of(catalogue, roles)
        for name in catalogue.providers[provider].api_key_env
    ]
    readings = read_files(names, settings.secrets_dir)
    return Keyring(names, env, key_dates(names, env), readings, settings.key_max_age_days)


def read_files(names: Sequence[str], directory: str | None) -> dict[str, SecretFile]:
    """The current content of each file; empty without a directory of secrets."""
    if directory is None:
        return {}
    return {name: read_secret(Path(directory), name) for name in names}
