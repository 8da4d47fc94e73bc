"""Which quotas there are: a limit per (credential, model), and the record under which workers share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.contract import subjects
from penstock.runtime.config.catalogue import Catalogue, Limits
from services.worker.providers.protocol import Provider
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["keys_of", "limits_of", "records_of"]


def keys_of(
    catalogue: Catalogue, credentials: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[QuotaKey, ...]]:
    """The quotas a call of each model may use, one per credential; `credentials`: names per provider, of which one
    without any serves nothing.
    """
    return {
        name: tuple(QuotaKey(credential, name) for credential in credentials.get(model.provider, ()))
        for name, model in catalogue.models.items()
    }


def limits_of(catalogue: Catalogue, providers: Mapping[str, Provider]) -> dict[QuotaKey, Limits]:
    """Of every model that one of these providers serves."""
    return {
        QuotaKey(credential, name): model.limits
        for name, model in catalogue.models.items()
        if model.provider in providers
        for credential in providers[model.provider].credentials
    }


def records_of(catalogue: Catalogue, keys: Iterable[QuotaKey]) -> dict[QuotaKey, str]:
    """One record per model, as its provider calls it, and credential, or group of them."""
    records = {}
    for key in keys:
        group = catalogue.providers[catalogue.models[key.model].provider].quota_group
        owner = key.credential if group is None else f"group:{group}"
        records[key] = subjects.quota_key(owner, catalogue.model_name(key.model))
    return records
