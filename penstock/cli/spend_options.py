"""The options of `penstock spend` and `penstock ledger`."""

from __future__ import annotations

import argparse
from typing import Final

from penstock.cli.argument_types import AddData, parse_account, parse_dimensions, parse_moment, parse_text
from penstock.cli.spend_period import MOMENTS

__all__ = ["SPEND", "define_ledger", "define_spend"]

SPEND: Final = """\
Show what was spent, with the total and, for the current month, a forecast to its end. Hours, days and months are those
of UTC; a request counts in the hour in which it was accepted."""


_VERIFY: Final = """\
Compare the stored journal with the state of the ledger, the spend history and the recorded usage. Exit code 1 if
anything differs. It reads only, and the system may run meanwhile."""


def define_spend(spend: argparse.ArgumentParser, add_data: AddData) -> None:
    spend.add_argument(
        "--by",
        type=parse_dimensions,
        default=("account",),
        metavar="NAME[,NAME...]",
        help="account, user, key, model, role, and one of hour, day or month (default: account)",
    )
    spend.add_argument("--account", type=parse_account, help="only of this account")
    spend.add_argument("--user", type=parse_text, default="", help="only of this user")
    spend.add_argument(
        "--since", type=parse_moment, default="month", metavar="TIME", help=f"{MOMENTS} (default: month)"
    )
    spend.add_argument("--until", type=parse_moment, metavar="TIME", help="before this time (default: now)")
    form = spend.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV with a header and without a total")
    add_data(spend)


def define_ledger(ledger: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = ledger.add_subparsers(dest="action", required=True, metavar="status|verify")
    status = actions.add_parser("status", help="show the partitions, their owners, journals and snapshots")
    verify = actions.add_parser(
        "verify", help="compare the journal with state, history and usage", description=_VERIFY
    )
    for action in (status, verify):
        action.add_argument("--json", action="store_true", help="print JSON")
        add_data(action)
