"""The quotas: a limit per (credential, model), and the record through which workers share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.contract import subjects
from penstock.runtime.config.catalogue import Catalogue, Limits
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["keys_of", "limits_of", "records_of"]


def keys_of(
    catalogue: Catalogue, credentials: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[QuotaKey, ...]]:
    """The quotas that calls of each model may use, one per credential. `credentials`: names by provider; a provider
    without credentials gets no calls.
    """
    return {
        name: tuple(QuotaKey(credential, name) for credential in credentials.get(model.provider, ()))
        for name, model in catalogue.models.items()
    }


def limits_of(catalogue: Catalogue, keys: Mapping[str, tuple[QuotaKey, ...]]) -> dict[QuotaKey, Limits]:
    """The limits of each quota; `keys`: the quotas of each model."""
    return {key: catalogue.models[name].limits for name, of_model in keys.items() for key in of_model}


def records_of(catalogue: Catalogue, keys: Iterable[QuotaKey]) -> dict[QuotaKey, str]:
    """The record of each quota: one per provider's model name and credential, or quota group."""
    records = {}
    for key in keys:
        group = catalogue.providers[catalogue.models[key.model].provider].quota_group
        owner = key.credential if group is None else f"group:{group}"
        records[key] = subjects.quota_key(owner, catalogue.model_name(key.model))
    return records
