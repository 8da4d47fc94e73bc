"""Findings at places that overlap, as one finding over all of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from penstock.contract.guard.checks import Finding

__all__ = ["joined", "place_of"]


def joined(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of texts and places. A joined finding is the longest of those in it; a secret if two are equally
    long, else the first.
    """
    found: list[Finding] = []
    for finding in sorted(findings, key=place_of):
        last = found[-1] if found else None
        if last is not None and last.text == finding.text and finding.start < last.end:
            found[-1] = _united(last, finding)
        else:
            found.append(finding)
    return found


def place_of(finding: Finding) -> tuple[int, int, int, str, str]:
    """A key by which findings are in the order of texts and places."""
    return (finding.text, finding.start, finding.end, finding.name, finding.detector)


def _united(first: Finding, second: Finding) -> Finding:
    longer = max(first, second, key=lambda each: (each.end - each.start, each.category == "secrets"))
    return replace(longer, start=min(first.start, second.start), end=max(first.end, second.end))
