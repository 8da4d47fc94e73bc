"""`penstock index`: send the files of folders to a collection, once or whenever they change."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from penstock.cli.connection import check_before_request, command_settings, open_client
from penstock.cli.connection_notes import connection_notes
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.answer import failure_text
from penstock.cli.render.retrieval.progress import index_progress
from penstock.cli.render.retrieval.report import (
    changes_line,
    dry_run_text,
    problem_lines,
    stopped_text,
    totals_text,
)
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.cli.retrieval.files import FileProblem, FileSelection, FoundFiles, check_beginnings, find_files
from penstock.cli.retrieval.listing import every_document
from penstock.cli.retrieval.sending import IndexTarget, send_deletions, send_files
from penstock.cli.retrieval.totals import IndexTotals
from penstock.cli.retrieval.watch import FileChanges, FileWatch
from penstock.client.client import Client
from penstock.contract.retrieval.documents import RefusedDocument
from penstock.errors import PenstockError, RequestFailed
from penstock.runtime.config.settings import Settings

__all__ = ["IndexCommand", "index"]

_LOOK_EVERY_S: Final = 1.0


class IndexCommand(Struct, frozen=True, kw_only=True):
    """The options of `penstock index`."""

    selection: FileSelection
    target: IndexTarget
    watch: bool = False
    dry_run: bool = False
    delete_missing: bool = False
    as_json: bool = False


def index(command: IndexCommand, data: Path) -> int:
    """Exit code 0 once all files are indexed, 1 if one was refused, 130 after Ctrl-C; 0 after Ctrl-C with `watch`.

    Raises BrokerUnreachable, ConfigurationRefused, CommandError, and PenstockError for a request that failed.
    """
    command = _within_limits(command, data)
    found = find_files(command.selection)
    if not found.files and not found.problems:
        raise CommandError("no file matches: name other paths, or other patterns with --glob")
    if command.dry_run and not command.delete_missing:
        return _print_dry_run(found, [])
    settings = command_settings(data)
    return asyncio.run(_run(command, found, settings))


def _within_limits(command: IndexCommand, data: Path) -> IndexCommand:
    """With the size that the catalogue allows, where this machine has the catalogue."""
    catalogue = known_catalogue(data)
    if catalogue is None or catalogue.retrieval is None:
        return command
    most = min(command.selection.max_bytes, catalogue.retrieval.max_document_bytes)
    return replace(command, selection=replace(command.selection, max_bytes=most))


async def _run(command: IndexCommand, found: FoundFiles, settings: Settings) -> int:
    warning = await check_before_request(settings)
    if warning is not None:
        _note(warning)
    async with open_client(settings) as client:
        missing = await _missing(client, command, found) if command.delete_missing else []
        if command.dry_run:
            return _print_dry_run(found, missing)
        totals = IndexTotals.of_collection(command.target.collection)
        try:
            with connection_notes(_note), index_progress(len(found.files)) as progress:
                totals.problems += found.problems
                await send_files(client, command.target, found.files, totals, progress)
                await send_deletions(client, command.target, missing, totals)
        except BaseException as error:
            can_go_on = not isinstance(error, RequestFailed) or error.retry != "never"
            _note(stopped_text(totals, can_go_on=can_go_on))
            raise
        _print_totals(totals, as_json=command.as_json)
        if not command.watch:
            return 0 if totals.is_complete else 1
        return await _watch(client, command, found)


async def _missing(client: Client, command: IndexCommand, found: FoundFiles) -> list[str]:
    """The documents of the collection that are none of the files.

    Raises CommandError where a file could not be read: its document would be deleted.
    """
    if found.problems:
        problem = found.problems[0]
        raise CommandError(
            f"--delete-missing needs all files, and {problem.path} {problem.reason}: exclude it with --exclude, or "
            "make it readable"
        )
    documents = await every_document(client, command.target.collection)
    return sorted({document.id for document in documents} - {file.id for file in found.files})


async def _watch(client: Client, command: IndexCommand, found: FoundFiles) -> int:
    """Send what changes until Ctrl-C."""
    watch = FileWatch(found.files, found.problems)
    _note(f"Watching {', '.join(map(str, command.selection.paths))} for changes; Ctrl-C ends it.")
    try:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                now = await asyncio.to_thread(find_files, command.selection)
                changes = watch.look(now, time.monotonic())
                if changes.problems:
                    _note_problems(changes.problems)
                    _note("Their documents stay, and nothing is deleted while this lasts.")
                if changes:
                    await _send_changes(client, command.target, changes)
                    watch.sent(changes)
            except (PenstockError, CommandError, OSError) as error:
                text = failure_text(error) if isinstance(error, PenstockError) else visible(str(error))
                pause_s = watch.failed(time.monotonic())
                _note(f"{text}\nThe changes are sent again in {pause_s:.0f} s.")
    except asyncio.CancelledError:
        return 0


async def _send_changes(client: Client, target: IndexTarget, changes: FileChanges) -> None:
    totals = IndexTotals.of_collection(target.collection)
    with index_progress(len(changes.changed)) as progress:
        await send_files(client, target, changes.changed, totals, progress)
        await send_deletions(client, target, changes.deleted, totals)
    print(changes_line(totals, time.strftime("%H:%M:%S")), flush=True)
    _note_problems(totals.problems, totals.report.refused)


def _print_totals(totals: IndexTotals, *, as_json: bool) -> None:
    if as_json:
        print(as_ascii_json({**_figures(totals)}), flush=True)
        return
    print(totals_text(totals), flush=True)
    _note_problems(totals.problems, totals.report.refused)


def _figures(totals: IndexTotals) -> dict[str, object]:
    problems = [{"id": each.id, "path": str(each.path), "reason": each.reason} for each in totals.problems]
    return {**asdict(totals.report), "left_out": totals.left_out, "problems": problems}


def _print_dry_run(found: FoundFiles, missing: list[str]) -> int:
    found = check_beginnings(found)
    print(dry_run_text(found, missing))
    _note_problems(found.problems)
    return 0 if not found.problems else 1


def _note_problems(problems: Sequence[FileProblem], refused: Sequence[RefusedDocument] = ()) -> None:
    for line in problem_lines(problems, refused):
        _note(line)


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
