"""The options of `penstock keys`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from penstock.cli.argument_types import (
    parse_account,
    parse_duration_s,
    parse_key_prefix,
    parse_role,
    parse_stream_rescue,
    parse_text,
)

__all__ = ["define_keys"]

_CREATE_KEY: Final = """\
Create a key and print it, once: only a digest of it is stored. Without --role and --model it allows all roles
and models, else only those named. Every edge knows it within two seconds. From the first key on, every client of the
HTTP edge needs one, also after all keys were revoked; no command leads back (docs/http.md, Keys)."""


def define_keys(keys: argparse.ArgumentParser, add_data: Callable[[argparse.ArgumentParser], None]) -> None:
    actions = keys.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", help="create a key and print it, once", description=_CREATE_KEY)
    create.add_argument("--account", type=parse_account, help="its account (default: PENSTOCK_ACCOUNT)")
    create.add_argument("--user", type=parse_text, default="", help="the end user of every request with it")
    create.add_argument(
        "--role",
        action="append",
        type=parse_role,
        default=[],
        help="a role that it allows, or auto; may be repeated",
    )
    create.add_argument(
        "--model",
        action="append",
        type=parse_text,
        default=[],
        help="a model of the catalogue that a request may name; may be repeated",
    )
    create.add_argument(
        "--rescue",
        type=parse_stream_rescue,
        default="error",
        metavar="error|hold|hold:MS|restart",
        help="what its streams do when an attempt fails after text was sent (default: %(default)s)",
    )
    create.add_argument(
        "--expires", type=parse_duration_s, metavar="TIME", help="reject it after 12h, 90d, ..."
    )
    create.add_argument("--note", type=parse_text, default="", help="what it is for; shown in the list")
    listing = actions.add_parser("list", help="list keys: what they allow, and whether they are valid")
    for action in (create, listing):
        action.add_argument("--json", action="store_true", help="print JSON")
    revoke = actions.add_parser("revoke", help="reject a key from now on")
    revoke.add_argument("prefix", type=parse_key_prefix, metavar="PREFIX", help="its prefix in the list")
    for action in (create, listing, revoke):
        add_data(action)
