"""E-mail addresses of people and companies; not those reserved for examples, and not what only looks like one."""

from __future__ import annotations

import re
from typing import Final

from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import Pattern, Place

__all__ = ["EMAIL_ADDRESSES"]

_RESERVED: Final = re.compile(
    r"(?:.*\.)?(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|localdomain)"
)
"""RFC 2606 and RFC 6761."""
_NO_PERSON: Final = re.compile(
    r"(?:do[-_.]?not|no)[-_.]?reply\b.*|mailer-daemon|postmaster|git|hg|svn|(?:your|my)?[-_.]?(?:e?mail|user(?:name)?)"
)
"""Senders that take no answers, the users of source code servers, and placeholders."""
_FILES: Final = frozenset(
    {
        "css",
        "gif",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "jsx",
        "mp4",
        "pdf",
        "png",
        "svg",
        "ts",
        "tsx",
        "txt",
    }
    | {"webp", "xml", "yaml", "yml"}
)
_LETTERS: Final = r"a-z\x{C0}-\x{1FFF}\x{3040}-\x{D7FF}"
"""The blocks of letters, without punctuation and symbols. `\\pL` has hundreds of ranges, and its repetitions here would
make a program of 70 MB."""
_LOCAL: Final = frozenset("._%+-")
_URL_USER: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]*$", re.IGNORECASE)


def _check(place: Place) -> Found | None:
    local, _, domain = place.value.lower().partition("@")
    before = place.text.character_before(place.start)
    if before.isalnum() or before in _LOCAL or ".." in local:
        return None  # longer than a local part may be, or cut out of something else
    top = domain.rpartition(".")[2]
    if top in _FILES or _RESERVED.fullmatch(domain) or _NO_PERSON.fullmatch(local):
        return None
    return None if _is_login(place) else Found(place.start, place.end, "email")


def _is_login(place: Place) -> bool:
    """Whether it is the user of a URL (`https://user:password@host`) or of a remote path (`user@host:/path`)."""
    if place.text.after(place.end, 2) in {":/", ":~"}:
        return True
    return _URL_USER.search(place.text.before(place.start)) is not None


EMAIL_ADDRESSES: Final = (
    Pattern(
        rf"[{_LETTERS}0-9_][{_LETTERS}0-9._%+'\-]{{0,63}}@(?:[{_LETTERS}0-9](?:[{_LETTERS}0-9\-]{{0,61}}[{_LETTERS}0-9])?\.){{1,8}}"
        rf"(?:xn--[a-z0-9\-]{{2,59}}|[{_LETTERS}]{{2,24}})",
        _check,
        hint=r"[^\s@]@[^\s@]",
        ignore_case=True,
    ),
)
