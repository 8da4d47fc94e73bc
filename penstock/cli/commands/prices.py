"""`penstock prices`: list the price of each model; replace one while services run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from penstock.bus.bucket import read_records
from penstock.cli.commands.budget_change import author, changing
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import catalogue_in_use
from penstock.cli.render.prices import ListedPrice, price_text, prices_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract.events import PriceChanged
from penstock.contract.ledger.policies import PriceOverride
from penstock.contract.streams import BUDGETS
from penstock.runtime.budgets.changes import change_price
from penstock.runtime.budgets.records import BudgetRecords, records_of
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings
from penstock.runtime.pricing import token_prices

__all__ = ["list_prices", "set_price", "unset_price"]

_NAME: Final = "penstock-prices"


def list_prices(data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    catalogue = catalogue_in_use(data)
    listed = _listed(catalogue, asyncio.run(_overrides(command_settings(data))))
    print(as_ascii_json(listed) if as_json else prices_text(listed))
    return 0


def set_price(override: PriceOverride, by: str | None, data: Path) -> int:
    """Raises as `list_prices`."""
    _check_model(catalogue_in_use(data), override.model)
    return _report(override.model, asyncio.run(_change(override.model, override, by, command_settings(data))))


def unset_price(model: str, by: str | None, data: Path) -> int:
    """Raises as `list_prices`."""
    return _report(model, asyncio.run(_change(model, None, by, command_settings(data))))


def _listed(catalogue: Catalogue, overrides: dict[str, PriceOverride]) -> list[ListedPrice]:
    found = []
    for key, model in catalogue.models.items():
        override, price = overrides.get(key), model.price
        if override is not None:
            found.append(
                ListedPrice(
                    model=key,
                    prices=override.prices,
                    as_of=override.as_of,
                    source=override.source,
                    changed_by=override.changed_by or "?",
                )
            )
        elif price is None:
            found.append(ListedPrice(model=key, prices=None))
        else:
            found.append(
                ListedPrice(model=key, prices=token_prices(price), as_of=price.as_of, source=price.source)
            )
    return found


def _check_model(catalogue: Catalogue, model: str) -> None:
    if model not in catalogue.models:
        raise CommandError(
            f"the catalogue {catalogue.name} has no model {model}: {nearest(model, catalogue.models)}"
        )


def _report(model: str, changed: PriceChanged) -> int:
    if changed.before is None and changed.after is None:
        print(f"The price of {model} was not changed before: that of the catalogue applies.")
    elif changed.after is None:
        print(f"Price of {model}: that of the catalogue applies again, by {changed.changed_by}.")
    else:
        print(f"Price of {model}: {price_text(changed.after.prices)}, by {changed.changed_by}.")
    return 0


async def _overrides(settings: Settings) -> dict[str, PriceOverride]:
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        found = records_of(await read_records(nc, BUDGETS), BudgetRecords()).prices.values()
    return {override.model: override for override in found}


async def _change(
    model: str, override: PriceOverride | None, by: str | None, settings: Settings
) -> PriceChanged:
    async with changing(settings) as nc:
        return await change_price(nc.jetstream(), model, override, author(by))
