"""The text of a trace, a tree of spans: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from penstock.bus import trace_names as names
from penstock.cli.errors import CommandError
from penstock.cli.render.table import screen_width
from penstock.cli.render.terminal_safe import visible
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.runtime.telemetry.trace_file import SpanLine

__all__ = ["Node", "newest_trace", "trace_of", "trace_text", "tree"]

_LISTED_IDS: Final = 2
_ORPHAN: Final = " (its parent is still running, or was not exported)"
_ATTRIBUTES: Final = (
    ("role", names.ROLE),
    ("complexity", names.COMPLEXITY),
    ("model", names.REQUEST_MODEL),
    ("attempt", names.ATTEMPT),
    ("tokens out", names.OUTPUT_TOKENS),
    ("collection", names.COLLECTION),
    ("passages", names.PASSAGES),
    ("best score", names.BEST_SCORE),
    ("outcome", names.OUTCOME),
    ("error", names.ERROR_TYPE),
)


class Node(Struct, frozen=True):
    span: SpanLine
    children: tuple[Node, ...]


def trace_of(spans: Iterable[SpanLine], request_id: str) -> str | None:
    """The id of the trace with `request_id`, or with the only request id that begins with it.

    Raises CommandError when several request ids begin with it.
    """
    found: dict[str, str] = {}
    for span in spans:
        each = str(span.attributes.get(names.REQUEST_ID, ""))
        if each == request_id:
            return span.trace_id
        if request_id and each.startswith(request_id):
            found[each] = span.trace_id
    if len(found) > 1:
        some = ", ".join([*found][:_LISTED_IDS]) + (", ..." if len(found) > _LISTED_IDS else "")
        raise CommandError(f"{len(found)} requests begin with {request_id}: {some}")
    return next(iter(found.values()), None)


def newest_trace(spans: Iterable[SpanLine]) -> str | None:
    """The id of the trace of the newest request; None when no span names a request.

    The requests of the safety guard to its safety model are no requests of an application, and not considered.
    """
    began_ns: dict[str, int] = {}
    trace_of_request: dict[str, str] = {}
    of_the_guard: set[str] = set()
    for span in spans:
        began_ns[span.trace_id] = min(span.start_ns, began_ns.get(span.trace_id, span.start_ns))
        if names.REQUEST_ID in span.attributes:
            request_id = str(span.attributes[names.REQUEST_ID])
            trace_of_request[request_id] = span.trace_id
            if span.attributes.get(names.ACCOUNT) == GUARD_ACCOUNT:
                of_the_guard.add(request_id)
    traces = (trace for request_id, trace in trace_of_request.items() if request_id not in of_the_guard)
    return max(traces, key=began_ns.__getitem__, default=None)


def tree(spans: Sequence[SpanLine]) -> tuple[Node, ...]:
    """Roots and children in order of time; a span whose parent is missing becomes a root."""
    known = {span.span_id for span in spans}
    children: dict[str | None, list[SpanLine]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        parent = span.parent_id if span.parent_id in known and span.parent_id != span.span_id else None
        children.setdefault(parent, []).append(span)

    def node(span: SpanLine) -> Node:
        return Node(span, tuple(node(child) for child in children.get(span.span_id, ())))

    return tuple(node(span) for span in children.get(None, ()))


def trace_text(spans: Sequence[SpanLine]) -> str:
    """A line per span: name, offset and duration in milliseconds, the main attributes."""
    begin_ns = min(span.start_ns for span in spans)
    roots = tree(spans)
    lines = [(label, node.span) for label, node in _labelled(roots, "")]
    # The only root may be the child of a caller's span, which is elsewhere.
    orphans = {root.span.span_id for root in roots if root.span.parent_id} if len(roots) > 1 else set()
    width = max(screen_width(label) for label, _ in lines)
    ids = sorted(
        {str(span.attributes[names.REQUEST_ID]) for span in spans if names.REQUEST_ID in span.attributes}
    )
    title = f"trace {spans[0].trace_id} · request {', '.join(ids) or 'unknown'}"
    shown = [
        _line(label, span, width, begin_ns) + (_ORPHAN if span.span_id in orphans else "")
        for label, span in lines
    ]
    return "\n".join((visible(title), *shown))


def _labelled(nodes: Sequence[Node], before: str) -> Iterator[tuple[str, Node]]:
    for number, node in enumerate(nodes, 1):
        last = number == len(nodes)
        yield f"{before}{'└─ ' if last else '├─ '}{visible(f'{node.span.service}: {node.span.name}')}", node
        yield from _labelled(node.children, before + ("   " if last else "│  "))


def _line(label: str, span: SpanLine, width: int, begin_ns: int) -> str:
    offset_ms = (span.start_ns - begin_ns) / 1e6
    duration_ms = (span.end_ns - span.start_ns) / 1e6
    shown = " ".join(
        f"{name}={_value(span.attributes[key])}" for name, key in _ATTRIBUTES if key in span.attributes
    )
    blanks = " " * (width - screen_width(label))
    return f"{label}{blanks}  +{offset_ms:>8.1f} ms  {duration_ms:>8.1f} ms  {shown}".rstrip()


def _value(attribute: object) -> str:
    return f"{attribute:.2f}" if isinstance(attribute, float) else visible(str(attribute))
