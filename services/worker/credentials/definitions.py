"""Which providers some roles need, and the credentials of each, by what the catalogue says."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.catalogue import Provider as ProviderConfig
from services.worker.credentials.keyring import Keyring

__all__ = ["credentials", "providers_of"]


def providers_of(catalogue: Catalogue, roles: Iterable[Role]) -> list[str]:
    """The providers that the chains of these roles name."""
    models = dict.fromkeys(model for role in roles for model in catalogue.roles[role].chain)
    return list(dict.fromkeys(catalogue.models[model].provider for model in models))


def credentials(name: str, config: ProviderConfig, keyring: Keyring) -> dict[str, str | None]:
    """Name and key of each credential that has one, or None where it may come yet; an endpoint that asks for none
    has one by its own name.
    """
    if not config.api_key_env:
        return {name: "none"}
    keys = {variable: keyring.value(variable) for variable in config.api_key_env}
    return {variable: key for variable, key in keys.items() if key is not None or keyring.may_come_later}
