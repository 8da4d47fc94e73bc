"""The files that `penstock index` sends: found below the given paths, and read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from msgspec import Struct

from penstock.cli.errors import CommandError
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS
from penstock.contract.streams import MAX_BODY_BYTES

__all__ = [
    "MAX_FILE_BYTES",
    "FileProblem",
    "FileSelection",
    "FoundFile",
    "FoundFiles",
    "check_beginnings",
    "find_files",
    "read_file",
]

MAX_FILE_BYTES: Final = MAX_BODY_BYTES // 4 * 3 - 64 * 1024
"""The largest file that fits a request, in which it is base64."""
_TOOLS: Final = frozenset({"__pycache__", "node_modules"})
"""Folders of other programs that are not hidden, and hold no documents."""
_FIRST_BYTES: Final = 8_192
_WITH_NULS: Final = (b"%PDF-", b"\xff\xfe", b"\xfe\xff")
"""How files begin that contain zero bytes and are documents: PDF, and text in UTF-16 or UTF-32."""
_NAMED_AS_DOCUMENTS: Final = frozenset(
    (
        *(".pdf", ".txt", ".text", ".log", ".rst", ".adoc", ".asc", ".csv", ".tsv"),
        *(".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".htm", ".html", ".xhtml", ".shtml"),
        *(".json", ".jsonl", ".ndjson", ".geojson", ".ipynb"),
    )
)
"""Extensions of documents: a file with one of them is wanted, whatever it contains."""
_NOT_READ: Final = frozenset(
    (".doc", ".docx", ".odt", ".ppt", ".pptx", ".odp", ".xls", ".xlsx", ".ods", ".epub", ".rtf")
)
"""Extensions of documents in formats that the indexer does not read."""
_RTF: Final = b"{\\rtf"


class FileSelection(Struct, frozen=True, kw_only=True):
    """Which files below some paths are wanted."""

    paths: tuple[Path, ...]
    globs: tuple[str, ...] = ()
    """Empty: all files."""
    exclude: tuple[str, ...] = ()
    max_bytes: int = MAX_FILE_BYTES


class FoundFile(Struct, frozen=True, kw_only=True):
    """A file, and the id of its document: the path below the folder that was given."""

    id: str
    path: Path
    size: int
    mtime_ns: int
    inode: int


class FileProblem(Struct, frozen=True, kw_only=True):
    """A file or folder that was wanted and cannot be sent."""

    id: str
    """The path below the folder that was given, as of a document."""
    path: Path
    reason: str


class FoundFiles(Struct, frozen=True, kw_only=True):
    """In the order of their ids."""

    files: tuple[FoundFile, ...]
    problems: tuple[FileProblem, ...] = ()
    left_out: tuple[str, ...] = ()
    """Ids of files that are no documents, as far as their content was looked at."""


def find_files(selection: FileSelection) -> FoundFiles:
    """All files below the paths that match, without empty and hidden ones, and without following symbolic links.

    A path that is given itself may be hidden or a link. Raises CommandError for one that does not exist, and for two
    files that would be the same document.
    """
    found: dict[str, FoundFile] = {}
    problems: list[FileProblem] = []
    for root in selection.paths:
        for each in _below(root, problems):
            checked = _checked(each, root, selection)
            if isinstance(checked, FileProblem):
                problems.append(checked)
            elif checked is not None:
                _add(found, checked)
    return FoundFiles(files=tuple(found[key] for key in sorted(found)), problems=tuple(problems))


def read_file(file: FoundFile) -> bytes | FileProblem | Literal["binary"]:
    """The content; `binary` for a file that has zero bytes at its beginning and no name or beginning of a document."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        return FileProblem(id=file.id, path=file.path, reason=_reason(error))
    return _content(file, data)


def check_beginnings(found: FoundFiles) -> FoundFiles:
    """Without the files that `read_file` would leave out or report, as far as their first bytes tell."""
    files, problems, left_out = [], [*found.problems], []
    for file in found.files:
        beginning = _beginning(file)
        if isinstance(beginning, FileProblem):
            problems.append(beginning)
        elif beginning == "binary":
            left_out.append(file.id)
        else:
            files.append(file)
    return FoundFiles(files=tuple(files), problems=tuple(problems), left_out=tuple(left_out))


def _beginning(file: FoundFile) -> bytes | FileProblem | Literal["binary"]:
    try:
        with file.path.open("rb") as opened:
            data = opened.read(_FIRST_BYTES)
    except OSError as error:
        return FileProblem(id=file.id, path=file.path, reason=_reason(error))
    return _content(file, data)


def _content(file: FoundFile, data: bytes) -> bytes | FileProblem | Literal["binary"]:
    suffix = file.path.suffix.lower()
    is_binary = b"\0" in data[:_FIRST_BYTES] and not data.startswith(_WITH_NULS)
    if suffix in _NOT_READ and (is_binary or data.startswith(_RTF)):
        what_to_do = f"save it as PDF, HTML or text, or leave it out by --exclude '*{suffix}'"
        reason = f"{suffix[1:].upper()} is not read: {what_to_do}"
        return FileProblem(id=file.id, path=file.path, reason=reason)
    if not is_binary:
        return data
    if suffix in _NAMED_AS_DOCUMENTS:
        reason = f"is binary data, and no {suffix[1:].upper()} document"
        return FileProblem(id=file.id, path=file.path, reason=reason)
    return "binary"


def _below(root: Path, problems: list[FileProblem]) -> Iterator[Path]:
    """Every file below a folder, or the one that `root` is. What cannot be listed is added to `problems`."""
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except OSError as error:
        raise CommandError(f"{root} cannot be read: {_reason(error)}") from error
    if not is_folder:
        yield root
        return

    def report(error: OSError) -> None:
        path = Path(os.fsdecode(error.filename or root))
        relative = path.name if path == root else path.relative_to(root).as_posix()
        problems.append(FileProblem(id=relative, path=path, reason=_reason(error)))

    for folder, folders, names in os.walk(root, onerror=report):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _TOOLS)
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)


def _checked(path: Path, root: Path, selection: FileSelection) -> FoundFile | FileProblem | None:
    """None: the file is not wanted."""
    given = path == root
    relative = path.name if given else path.relative_to(root).as_posix()
    if not _is_wanted(relative, selection):
        return None
    try:
        state = path.stat() if given else path.lstat()
    except OSError as error:
        return FileProblem(id=relative, path=path, reason=_reason(error))
    if not stat.S_ISREG(state.st_mode):
        return FileProblem(id=relative, path=path, reason="is not a file") if given else None
    if not state.st_size:
        return FileProblem(id=relative, path=path, reason="is empty") if given else None
    if (reason := _unusable(relative, state.st_size, selection.max_bytes)) is not None:
        return FileProblem(id=relative, path=path, reason=reason)
    return FoundFile(
        id=relative, path=path, size=state.st_size, mtime_ns=state.st_mtime_ns, inode=state.st_ino
    )


def _is_wanted(relative: str, selection: FileSelection) -> bool:
    if selection.globs and not _matches(relative, selection.globs):
        return False
    return not _matches(relative, selection.exclude)


def _matches(relative: str, patterns: Sequence[str]) -> bool:
    """A pattern is for the whole path, for the name, or for a folder above: `*.md`, `guides/*`, `drafts`."""
    parts = PurePosixPath(relative).parts
    above = ("/".join(parts[: count + 1]) for count in range(len(parts)))
    candidates = {relative, *parts, *above}
    return any(
        fnmatchcase(candidate, pattern.removesuffix("/"))
        for pattern in {each for written in patterns for each in (written, written.removeprefix("**/"))}
        for candidate in candidates
    )


def _unusable(relative: str, size: int, max_bytes: int) -> str | None:
    try:
        relative.encode()
    except UnicodeError:
        return "its name is not UTF-8"
    if len(relative) > DOCUMENT_ID_CHARACTERS:
        return f"its path has more than {DOCUMENT_ID_CHARACTERS:,} characters"
    if size > max_bytes:
        return f"has {size / 2**20:,.1f} MiB, more than {max_bytes / 2**20:,.0f} MiB"
    return None


def _add(found: dict[str, FoundFile], file: FoundFile) -> None:
    other = found.setdefault(file.id, file)
    if other.path != file.path:
        raise CommandError(
            f"{other.path} and {file.path} would both be the document {file.id}: index the folder above both, or "
            "each into a collection of its own"
        )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
