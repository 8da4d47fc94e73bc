"""Changes of files between two looks at a folder: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.cli.retrieval.files import FileProblem, FoundFile, FoundFiles

__all__ = ["FileChanges", "FileWatch"]

_FIRST_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
_State = tuple[int, int, int]


class FileChanges(Struct, frozen=True, kw_only=True):
    """What is to be sent; false without anything."""

    changed: tuple[FoundFile, ...] = ()
    deleted: tuple[str, ...] = ()
    problems: tuple[FileProblem, ...] = ()
    """Those that the last look did not find."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.deleted)


class FileWatch:
    """Which files changed since they were sent.

    A file is reported once two looks in a row have found it the same, so that a file is not read while it is written.
    Changes that could not be sent are reported again, after pauses that grow.
    """

    def __init__(self, sent: Iterable[FoundFile], problems: Iterable[FileProblem] = ()) -> None:
        """`sent`: what the index has already; `problems`: those that are reported already."""
        self._sent: dict[str, _State] = {file.id: _state(file) for file in sent}
        self._seen: Mapping[str, _State] = dict(self._sent)
        self._problems = frozenset(problems)
        self._pause_s = 0.0
        self._not_before_s = 0.0

    def look(self, found: FoundFiles, now_s: float) -> FileChanges:
        """`found`: what exists now; with problems, nothing counts as deleted. `now_s`: monotonic seconds."""
        by_id = {file.id: file for file in found.files}
        now = {key: _state(file) for key, file in by_id.items()}
        before, self._seen = self._seen, now
        problems = tuple(each for each in found.problems if each not in self._problems)
        self._problems = frozenset(found.problems)
        if now_s < self._not_before_s:
            return FileChanges(problems=problems)
        return FileChanges(
            problems=problems,
            changed=tuple(
                by_id[key]
                for key, state in now.items()
                if self._sent.get(key) != state and before.get(key) == state
            ),
            deleted=()
            if found.problems
            else tuple(sorted(key for key in self._sent if key not in now and key not in before)),
        )

    def sent(self, changes: FileChanges) -> None:
        self._pause_s = 0.0
        for file in changes.changed:
            self._sent[file.id] = _state(file)
        for key in changes.deleted:
            self._sent.pop(key, None)

    def failed(self, now_s: float) -> float:
        """The seconds until changes are reported again."""
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._not_before_s = now_s + self._pause_s
        return self._pause_s


def _state(file: FoundFile) -> _State:
    return file.size, file.mtime_ns, file.inode
