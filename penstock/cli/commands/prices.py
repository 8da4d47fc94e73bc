"""`penstock prices`: list the price of each model; replace one while services run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import asdict

from penstock.bus.bucket import read_records
from penstock.cli.argument_types import INHERITED
from penstock.cli.commands.audited_change import author, changing
from penstock.cli.commands.budget_change import warn_without_budgets
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import catalogue_in_use, known_catalogue
from penstock.cli.render.prices import ListedPrice, price_text, prices_text
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.contract.events import PriceChanged
from penstock.contract.ledger.policies import PriceOverride, TokenPrices
from penstock.contract.streams import BUDGETS
from penstock.runtime.budgets.changes import change_price
from penstock.runtime.budgets.records import BudgetRecords, records_of
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings
from penstock.runtime.pricing import token_prices

__all__ = ["PriceChange", "list_prices", "set_price", "unset_price"]

_NAME: Final = "penstock-prices"


class PriceChange(Struct, frozen=True, kw_only=True):
    """What `prices set` shall change; None: not named."""

    prices: Mapping[str, int] = field(default_factory=dict)
    """Kind of token -> micro-dollars per million; INHERITED: as all input or output."""
    as_of: str | None = None
    source: str | None = None


def list_prices(data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    catalogue = catalogue_in_use(data)
    listed = _listed(catalogue, asyncio.run(_overrides(command_settings(data))))
    print(as_ascii_json(listed) if as_json else prices_text(listed))
    return 0


def set_price(model: str, change: PriceChange, by: str | None, data: Path) -> int:
    """Raises as `list_prices`."""
    catalogue = catalogue_in_use(data)
    _check_model(catalogue, model)
    listed = _catalogue_price(catalogue, model)

    def changed(before: PriceOverride | None) -> PriceOverride:
        return _changed_price(model, before or listed, change)

    return _change(model, changed, by, data, catalogue)


def unset_price(model: str, by: str | None, data: Path) -> int:
    """Raises as `list_prices`."""
    return _change(model, lambda _: None, by, data, known_catalogue(data))


def _changed_price(model: str, before: PriceOverride | None, change: PriceChange) -> PriceOverride:
    """The prices with the change: those that are not named stay. The date and the source of other amounts are dropped.

    Raises CommandError where input or output have no price yet.
    """
    known = {} if before is None else asdict(before.prices)
    missing = [f"--{kind}" for kind in ("input", "output") if kind not in known and kind not in change.prices]
    if missing:
        raise CommandError(f"{model} has no price yet: give {' and '.join(missing)} too")
    named = {kind: None if price == INHERITED else price for kind, price in change.prices.items()}
    prices = TokenPrices(**{**known, **named})
    if before is None or prices != before.prices:
        as_of, source = "", ""
    else:
        as_of, source = before.as_of, before.source
    return PriceOverride(
        model=model,
        prices=prices,
        as_of=as_of if change.as_of is None else change.as_of,
        source=source if change.source is None else change.source,
    )


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


def _catalogue_price(catalogue: Catalogue | None, model: str) -> PriceOverride | None:
    found = None if catalogue is None else catalogue.models.get(model)
    price = None if found is None else found.price
    if price is None:
        return None
    return PriceOverride(model=model, prices=token_prices(price), as_of=price.as_of, source=price.source)


def _change(
    model: str,
    change: Callable[[PriceOverride | None], PriceOverride | None],
    by: str | None,
    data: Path,
    catalogue: Catalogue | None,
) -> int:
    async def run() -> PriceChanged | None:
        async with changing(command_settings(data), _NAME) as nc:
            return await change_price(nc.jetstream(), model, change, author(by))

    changed = asyncio.run(run())
    if changed is None:
        if catalogue is not None:  # the price of a model that the catalogue no longer has can be removed
            _check_model(catalogue, model)
        print(f"Nothing to change: the price of {visible(model)} is as it was.")
        return 0
    listed = _catalogue_price(catalogue, model)
    before, after = (_price_text(side or listed) for side in (changed.before, changed.after))
    print(visible(f"Price of {model}: {before} -> {after}, by {changed.changed_by}."))
    warn_without_budgets(catalogue)
    return 0


def _price_text(price: PriceOverride | None) -> str:
    return "unknown" if price is None else price_text(price.prices)


async def _overrides(settings: Settings) -> dict[str, PriceOverride]:
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        found = records_of(await read_records(nc, BUDGETS), BudgetRecords()).prices.values()
    return {override.model: override for override in found}
