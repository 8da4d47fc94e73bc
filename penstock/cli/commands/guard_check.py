"""`penstock guard try` and `test`: ask a running guard about texts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.guard.accuracy import Accuracy, measured, searched_names
from penstock.cli.guard.known_policies import read_policies
from penstock.cli.guard.labelled_set import Example, read_labelled_set
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.guard_check import accuracy_text, place_of, verdict_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract.guard.checks import MAX_CHECK_BYTES, CheckedText, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import LOCAL_DETECTORS
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.config.settings import Settings
from penstock.runtime.guard.client import GuardClient, GuardUnreachable
from penstock.runtime.heartbeat import read_presence

__all__ = ["Trial", "measure_set", "try_text"]

_NAME: Final = "penstock-guard-check"
_BLOCKED: Final = 3
"""Exit code for a text that the policy would not let pass."""
_WAIT_S: Final = 30.0
"""How long a guard may take for a check; the time limits of its detectors are shorter."""
_ABSENT_S: Final = 2.0
"""How long a guard is waited for that has no heartbeat."""
_AT_ONCE: Final = 8
_NO_GUARD: Final = (
    "no guard answers: `penstock up` starts one if the catalogue has a section guard, and `penstock run guard` another "
    "(docs/guard.md)"
)


class Trial(Struct, frozen=True, kw_only=True):
    """The text of `guard try`, or the file with it."""

    text: str | None = None
    """`-`: stdin."""
    file: Path | None = None
    account: str | None = None
    """None: no policy is applied."""
    output: bool = False

    def check(self, settings: Settings) -> GuardCheck:
        """Raises CommandError for a text that cannot be checked."""
        text = _read(self, sys.stdin.buffer)
        if not text.strip():
            raise CommandError("the text is empty")
        if len(text.encode()) > MAX_CHECK_BYTES:
            raise CommandError("a check takes at most 1 MiB of text: try a part of it")
        return GuardCheck(
            id="",
            account=self.account or settings.account,
            direction="output" if self.output else "input",
            texts=(CheckedText(text=text, origin="output" if self.output else "user"),),
            apply_policy=self.account is not None,
        )


def try_text(trial: Trial, data: Path, *, as_json: bool) -> int:
    """Exit code 3 if the policy would block or refuse the text, else 1 if a detector did not check it completely.

    Raises BrokerUnreachable, ConfigurationRefused and CommandError.
    """
    settings = command_settings(data)
    check = trial.check(settings)
    catalogue = known_catalogue(data)

    async def run() -> tuple[GuardVerdict, bool]:
        async with _guard(settings) as (nc, client, wait_s):
            verdict = await _ask(client, check, wait_s)
            policy = (await read_policies(nc, catalogue)).in_force(check.account)
            return verdict, check.apply_policy and policy is not None and policy.mode == "off"

    verdict, is_off = asyncio.run(run())
    text = check.texts[0].text
    if as_json:
        print(as_ascii_json(_fields(text, verdict), indented=True))
    else:
        print(verdict_text(text, verdict, apply_policy=check.apply_policy))
    if is_off:
        print(
            f"Note: the policy of account {check.account} is off: nothing of it is checked.", file=sys.stderr
        )
    if verdict.failures:
        print("Error: the text was not completely checked.", file=sys.stderr)
    if verdict.action == "block" or verdict.refuses:
        return _BLOCKED
    return 1 if verdict.failures else 0


def measure_set(path: Path, data: Path, *, as_json: bool) -> int:
    """Exit code 1 if a detector could not check some texts. Raises as `try_text`."""
    examples = read_labelled_set(path)
    settings = command_settings(data)

    async def run() -> list[GuardVerdict]:
        async with _guard(settings) as (_, client, wait_s):
            return await _ask_all(client, list(_checks(examples, settings)), wait_s)

    accuracy = measured(examples, asyncio.run(run()))
    print(as_ascii_json(_accuracy_fields(accuracy), indented=True) if as_json else accuracy_text(accuracy))
    for detector, texts in accuracy.unchecked.items():
        print(f"Error: the detector {detector} could not check all texts: {texts}.", file=sys.stderr)
    return 1 if accuracy.unchecked else 0


def _read(trial: Trial, stdin: BinaryIO) -> str:
    try:
        if trial.file is not None:
            return trial.file.read_bytes().decode()
        return stdin.read().decode() if trial.text in ("-", None) else str(trial.text)
    except OSError as error:
        raise CommandError(
            f"{trial.file} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError("the text is not UTF-8") from error


def _checks(examples: Sequence[Example], settings: Settings) -> Iterable[GuardCheck]:
    """A check for each text, by the detectors of what the set is about: models cost money."""
    categories = {name.partition("/")[0] for name in searched_names(examples)}
    is_local = categories <= {*LOCAL_DETECTORS}
    detectors = tuple(name for name in LOCAL_DETECTORS if name in categories) if is_local else ()
    for example in examples:
        yield GuardCheck(
            id="",
            account=settings.account,
            texts=(CheckedText(text=example.text, origin=example.origin),),
            detectors=detectors,
            apply_policy=False,
        )


async def _ask_all(client: GuardClient, checks: Sequence[GuardCheck], wait_s: float) -> list[GuardVerdict]:
    """The verdicts in the order of the checks, some of which are asked at once."""
    verdicts: dict[int, GuardVerdict] = {}
    numbered = iter(enumerate(checks))

    async def work() -> None:
        for number, check in numbered:
            verdicts[number] = await _ask(client, check, wait_s)

    tasks = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(*tasks)
    return [verdicts[number] for number in range(len(checks))]


async def _ask(client: GuardClient, check: GuardCheck, wait_s: float) -> GuardVerdict:
    try:
        return await client.check(check, wait_s)
    except GuardUnreachable as error:
        raise CommandError(_NO_GUARD) from error


@asynccontextmanager
async def _guard(settings: Settings) -> AsyncIterator[tuple[Nats, GuardClient, float]]:
    """A connection, a client of the guard, and how long to wait for a verdict."""
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        is_alive = any(presence.service == "guard" for presence in await read_presence(nc))
        client = GuardClient(nc)
        await client.start()
        try:
            yield nc, client, _WAIT_S if is_alive else _ABSENT_S
        finally:
            await client.stop()


def _fields(text: str, verdict: GuardVerdict) -> dict[str, Any]:
    """The verdict with the line, the column and the characters of each finding; null for the whole text."""
    fields: dict[str, Any] = msgspec.to_builtins(verdict)
    for shown, finding in zip(fields["findings"], verdict.findings, strict=True):
        line, column = place_of(text, finding) or (None, None)
        shown |= {"line": line, "column": column, "span": text[finding.start : finding.end] or None}
    return fields


def _accuracy_fields(accuracy: Accuracy) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(accuracy)
    named = (
        (fields["total"], accuracy.total),
        *zip(fields["by_name"].values(), accuracy.by_name.values(), strict=True),
    )
    for shown, counts in named:
        shown |= {"precision": counts.precision, "recall": counts.recall}
    return fields
