"""Index requests made of files: documents in groups that are bounded in bytes and number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from penstock.cli.retrieval.files import FileProblem, FoundFile, read_file
from penstock.contract.retrieval.documents import MAX_DOCUMENTS, Document, Metadata

__all__ = ["ReadGroup", "file_groups", "id_groups", "read_group"]

_GROUP_BYTES: Final = 4 * 1024 * 1024
"""Of the files of one request, unless a single file is larger; as base64 it fits a message."""
_GROUP_FILES: Final = 200


class ReadGroup(Struct, frozen=True, kw_only=True):
    """The documents of one request."""

    documents: tuple[Document, ...]
    problems: tuple[FileProblem, ...] = ()
    left_out: tuple[str, ...] = ()
    """Ids of files that are not documents."""


def file_groups(files: Iterable[FoundFile]) -> Iterator[list[FoundFile]]:
    """The files of one request each, in their order."""
    group: list[FoundFile] = []
    size = 0
    for file in files:
        if group and (size + file.size > _GROUP_BYTES or len(group) == _GROUP_FILES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def id_groups(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids of documents to delete in one request each."""
    return (ids[start : start + MAX_DOCUMENTS] for start in range(0, len(ids), MAX_DOCUMENTS))


def read_group(files: Iterable[FoundFile], metadata: Metadata) -> ReadGroup:
    """Read the files. `metadata` is stored with each of them."""
    documents: list[Document] = []
    problems: list[FileProblem] = []
    left_out: list[str] = []
    for file in files:
        content = read_file(file)
        if isinstance(content, FileProblem):
            problems.append(content)
        elif content == "binary":
            left_out.append(file.id)
        elif isinstance(content, bytes):
            documents.append(Document(id=file.id, data=content, metadata=metadata))
    return ReadGroup(documents=tuple(documents), problems=tuple(problems), left_out=tuple(left_out))
