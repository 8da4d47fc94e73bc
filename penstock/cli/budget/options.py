"""The options of `penstock budget` and `penstock prices`, and the rules between them."""

from __future__ import annotations

import argparse
from typing import Final

from penstock.cli.argument_types import (
    INHERITED,
    AddData,
    parse_account,
    parse_amount,
    parse_day,
    parse_dollars,
    parse_key_prefix,
    parse_moment,
    parse_text,
    parse_tier,
    parse_time_zone,
)
from penstock.cli.spend_period import MOMENTS
from penstock.contract.ledger.policies import LIMIT_NAMES, TRAFFIC_CLASSES
from penstock.runtime.config.budgets.amounts import DOLLAR_LIMITS

__all__ = ["LIMIT_OPTIONS", "check_budget", "check_prices", "define_budget", "define_prices"]

_CONFIGURED: Final = {stored: name for name, stored in DOLLAR_LIMITS.items()}
LIMIT_OPTIONS: Final = {_CONFIGURED.get(name, name): name for name in LIMIT_NAMES}
"""The name of a limit in the configuration and on the command line -> its name in the contract."""
_PRICE_KINDS: Final = (
    "input",
    "output",
    "cached_input",
    "cache_write",
    "reasoning",
    "audio_input",
    "audio_output",
)
_SET: Final = """\
Change the budget of one account, user, key, tier, of all of them or of the whole system; what is not named stays as it
is. An amount is a number, `unlimited` (removes an inherited limit) or `none` (inherits again). A limit that is soft
stays soft with another amount, also if it inherits that, until --hard names it. A change without --note has no note.
The command prints what was in force and what is now. Every process applies the change within a second."""
_SET_PRICE: Final = """\
Replace prices of a model, in dollars per million tokens; what is not named stays as it is. `none`: such tokens cost as
all input or output. The date and the source belong to the amounts: name them again with new ones."""
_UNSET: Final = """\
Remove what `penstock budget set` and `disable` stored: what the catalogue says applies again."""
_LIMIT_HELP: Final = {
    **{name: name.replace("_", " ") for name in LIMIT_OPTIONS},
    "usd_per_day": "dollars per day",
    "usd_per_month": "dollars per month",
    "tokens_per_request": "output tokens that one request may ask for",
    "concurrency": "requests accepted and not ended",
}
_CHANGING: Final = ("set", "disable", "enable", "unset")


def define_budget(budget: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = budget.add_subparsers(
        dest="action", required=True, metavar="show|list|set|disable|enable|unset|history|alerts"
    )
    show = actions.add_parser("show", help="show limits, what is spent, held and left, and when they reset")
    listing = actions.add_parser("list", help="list the budgets that were set while services run")
    change = actions.add_parser("set", help="change a budget", description=_SET)
    disable = actions.add_parser("disable", help="refuse every request of an account, user or key")
    enable = actions.add_parser("enable", help="serve requests again after `disable`")
    unset = actions.add_parser("unset", help="remove a changed budget", description=_UNSET)
    history = actions.add_parser("history", help="list who changed which budget and price, and how")
    alerts = actions.add_parser("alerts", help="list the budgets that reached 80%% or 100%% of a limit")
    _add_scope(show)
    _add_every(show)
    for action in (change, disable, enable, unset):
        _add_target(action)
    _add_amounts(change)
    for action in (change, disable, enable):
        action.add_argument("--note", type=parse_text, help="why; shown in the list")
    for action in (show, listing, history, alerts):
        action.add_argument("--json", action="store_true", help="print JSON")
    history.add_argument("--account", type=parse_account, help="only changes of this account")
    history.add_argument("--user", type=_user, help="only changes of this user")
    history.add_argument("--key", type=parse_key_prefix, metavar="PREFIX", help="only changes of this key")
    history.add_argument("--system", action="store_true", help="only changes of the system")
    alerts.add_argument("--since", type=parse_moment, metavar="TIME", help=f"{MOMENTS} (default: 30d)")
    for action in (show, listing, change, disable, enable, unset, history, alerts):
        add_data(action)


def define_prices(prices: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = prices.add_subparsers(dest="action", required=True, metavar="list|set|unset")
    listing = actions.add_parser("list", help="list the price of each model, with its date and source")
    change = actions.add_parser(
        "set", help="replace the price of a model while services run", description=_SET_PRICE
    )
    unset = actions.add_parser("unset", help="use the price of the catalogue again")
    listing.add_argument("--json", action="store_true", help="print JSON")
    for action in (change, unset):
        action.add_argument("model", type=parse_text, metavar="MODEL", help="its key in the catalogue")
        _add_author(action)
    for kind in _PRICE_KINDS:
        change.add_argument(
            _option(kind),
            type=parse_dollars,
            metavar="USD",
            help=f"dollars per million tokens of {kind.replace('_', ' ')}",
        )
    change.add_argument("--as-of", type=parse_day, metavar="DAY", help="the day of the price, YYYY-MM-DD")
    change.add_argument("--source", type=parse_text, help="where the price is listed")
    for action in (listing, change, unset):
        add_data(action)


def check_budget(arguments: argparse.Namespace) -> str | None:
    """Why the options contradict each other; None: they do not."""
    if arguments.action == "show":
        return _check_show(arguments)
    if arguments.action == "history":
        named = arguments.account or arguments.user or arguments.key
        return (
            "--account, --user and --key have no effect with --system" if arguments.system and named else None
        )
    if arguments.action not in _CHANGING:
        return None
    return _check_target(arguments) or (_check_set(arguments) if arguments.action == "set" else None)


def check_prices(arguments: argparse.Namespace) -> str | None:
    if arguments.action == "set":
        given = {kind: getattr(arguments, kind) for kind in _PRICE_KINDS}
        if all(value is None for value in (*given.values(), arguments.as_of, arguments.source)):
            return "nothing to change: give a price, such as --input 0.15"
        for kind, price in given.items():
            is_main = kind in ("input", "output")
            if price is not None and ((price == INHERITED and is_main) or price >= 2**53):
                return f"{_option(kind)} is a price in dollars; 0 if it is free"
    return None


def _check_show(arguments: argparse.Namespace) -> str | None:
    kinds = {
        "--tier-definition": arguments.tier_definition is not None,
        "--system": arguments.system,
        "--every": arguments.every is not None,
    }
    given = [option for option, is_given in kinds.items() if is_given]
    part = arguments.user is not None or arguments.key is not None
    if len(given) > 1 or (given and part):
        names = [*given, *(["--user or --key"] if part else [])]
        return f"{' and '.join(names)} name different budgets: one has no effect with the other"
    alone = given and (given[0] != "--every" or arguments.every == "account")
    return f"--account has no effect with {given[0]}" if alone and arguments.account is not None else None


def _check_target(arguments: argparse.Namespace) -> str | None:
    kinds = {
        "--user": arguments.user is not None,
        "--key": arguments.key is not None,
        "--tier-definition": arguments.tier_definition is not None,
        "--system": arguments.system,
        "--every": arguments.every is not None,
    }
    given = [option for option, is_given in kinds.items() if is_given]
    if len(given) > 1:
        return f"{' and '.join(given)} name different budgets: change one at a time"
    if not given and arguments.account is None:
        return "say whose budget: --account, --user, --key, --every, --tier-definition or --system"
    alone = given and (given[0] in ("--system", "--tier-definition") or arguments.every == "account")
    return f"--account has no effect with {given[0]}" if alone and arguments.account is not None else None


def _check_set(arguments: argparse.Namespace) -> str | None:
    amounts = [name for name in LIMIT_OPTIONS if getattr(arguments, name) is not None]
    others = (arguments.tier, arguments.time_zone, arguments.note, arguments.soft, arguments.hard)
    if not amounts and not any(other not in (None, []) for other in others):
        return "nothing to change: give a limit, such as --usd-per-day 10, or --tier"
    is_part = arguments.user is not None or arguments.key is not None or arguments.every in ("user", "key")
    if arguments.traffic and not amounts:
        return "--traffic needs a limit that applies to this part of the traffic"
    if is_part and (arguments.traffic or arguments.time_zone is not None):
        return "--traffic and --time-zone apply to accounts and to the system, not to users and keys"
    if arguments.tier_definition is not None and (
        arguments.tier is not None or arguments.time_zone is not None
    ):
        return "--tier and --time-zone do not apply to the definition of a tier"
    both = set(arguments.soft) & set(arguments.hard)
    return f"{both.pop()} cannot be both soft and hard" if both else None


def _add_scope(action: argparse.ArgumentParser) -> None:
    action.add_argument("--account", type=parse_account, help="its account (default: PENSTOCK_ACCOUNT)")
    action.add_argument("--user", type=_user, help="an end user of the account")
    action.add_argument("--key", type=parse_key_prefix, metavar="PREFIX", help="an API key, by its prefix")


def _add_target(action: argparse.ArgumentParser) -> None:
    _add_scope(action)
    _add_every(action)
    _add_author(action)


def _add_every(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--every",
        choices=("account", "user", "key"),
        help="each one that has no budget of its own; with --account, each user or key of it",
    )
    action.add_argument("--tier-definition", type=parse_tier, metavar="TIER", help="the limits of a tier")
    action.add_argument("--system", action="store_true", help="the whole system")


def _add_author(action: argparse.ArgumentParser) -> None:
    action.add_argument("--by", type=parse_text, help="who makes the change (default: your login name)")


def _add_amounts(change: argparse.ArgumentParser) -> None:
    for name, stored in LIMIT_OPTIONS.items():
        is_money = name != stored
        change.add_argument(
            _option(name),
            type=parse_dollars if is_money else parse_amount,
            metavar="USD" if is_money else "N",
            help=_LIMIT_HELP[name],
        )
    change.add_argument(
        "--traffic", choices=TRAFFIC_CLASSES, help="apply the limits to this part of the traffic"
    )
    change.add_argument(
        "--tier", type=_tier_or_none, help="limits that it has none of come from this tier; or none"
    )
    _add_limit_names(change, "--soft", "this limit raises alerts and refuses nothing; may be repeated")
    _add_limit_names(change, "--hard", "this limit refuses again; may be repeated")
    change.add_argument(
        "--time-zone", type=parse_time_zone, metavar="ZONE", help="where its days and months begin"
    )


def _add_limit_names(change: argparse.ArgumentParser, option: str, text: str) -> None:
    change.add_argument(
        option,
        action="append",
        type=lambda text: text.replace("-", "_"),
        choices=tuple(LIMIT_OPTIONS),
        default=[],
        metavar="LIMIT",
        help=f"{text}. LIMIT is named as its option, for example usd-per-day",
    )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _user(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return parse_text(text)


def _tier_or_none(text: str) -> str:
    """Empty for `none`."""
    return "" if text == "none" else parse_tier(text)
