"""Hypothesis strategies for messages that the Penstock client never publishes."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import strategies as st

from penstock.bus.ids import new_id
from penstock.contract import headers, subjects
from penstock.contract.names import RANKS
from tests.harness.nats.raw_nats import RawMessage

__all__ = ["messages"]

CLIENT = "fuzz"
ACCOUNT = "fuzz"
ROLES = ("chat", "logic", "coding")
STRANGE_SUBJECTS = (
    "llm.request.*.chat",
    "llm.request.fuzz.*",
    "llm.request.\x01.chat",
    "llm.request.ü.chat",
    "llm.request.d\udcff.chat",
    "llm.request.fuzz.\udcff",
    "llm.request.a\x0bb.chat",
    "llm.request.a\x0cb.chat",
    f"llm.request.{'a' * 500}.chat",
    f"llm.request.fuzz.{'k' * 500}",
    "llm.request.fuzz.$JS",
)
"""Subjects of invalid requests. A literal `>` and a final 0x7f are excluded: nats-server 2.15 stores such messages but
never delivers them, and NATS permissions keep applications from publishing on such subjects (K5)."""
UNKNOWN_MAILBOXES = (
    "llm.work.poet.interactive",
    "llm.work.*.interactive",
    "llm.work.chat.never",
    "llm.work.chat.interactive",
    "llm.work.chat.never.0.a7c",
    "llm.work.chat.batch.4.a7c",
    "llm.work.chat.batch.0.a7c.more",
    "llm.work.poet.batch.1.a7c",
    "llm.work.*.interactive.0.a7c",
    "llm.work.chat.\udcff",
    "llm.work.\udcff.batch",
)
STRANGE_BLOCKS = (
    b"NATS/1.0\r\nStatus: 404\r\n\r\n",
    b"NATS/1.0\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\n\r\n",
    b"NATS/1.0\r\nStatus: 409\r\n\r\n",
    b"NATS/1.0 408 Request Timeout\r\n\r\n",
    b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
    b"NATS/1.0 100 \xff\xfe\r\nA: b\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Subject: llm.work.evil.x\r\nNats-Num-Pending: x\r\n\r\n",
    b"NATS/1.0\r\n: nameless\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nX: \xff\xfe\xc3\r\n\r\n",
    b"NATS/1.0\r\n\x00\x01: \x02\r\n\r\n",
    b"NATS/1.0\r\ntraceparent: 00-zz\r\nPenstock-Repeated: \r\n\r\n",
    b"NATS/1.0\r\ntraceparent: 00-\xc3\xbc\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Client: a.b.>\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Deadline-Ms: " + b"9" * 5000 + b"\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Deadline-Ms: \xd9\xa1\xd9\xa2\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Reply: llm.work.chat.interactive\r\nPenstock-Deadline-Ms: 1\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Reply: $JS.API.STREAM.PURGE.LLM_DEAD\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Reply: \xff\xfe\r\ntraceparent: " + b"\xff" * 3000 + b"\r\n\r\n",
    b"NATS/1.0\r\nPenstock-Reply: llm.reply.*.>.x y\r\n\r\n",
    b"NATS/1.0\r\n\r\n",
    b"junk\r\n\r\n",
    b"\r\n\r\n",
    b"NATS/1.0" + b"x" * 40,
)
STRANGE_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**18,
    10**30,
    10**400,
    -(10**30),
    "",
    " ",
    "0",
    "\x00",
    "a b",
    "a.b",
    "*",
    ">",
    "ü",
    "\U0001f9a6",
    "\ud800",
    "x" * 5000,
    [],
    {},
    [[]],
    [{}],
    {"": None},
    [None] * 50,
)
DEPTHS = (2, 100, 800, 900, 940, *range(950, 1000, 3), 1100, 50_000)


def request() -> dict[str, Any]:
    return {
        "type": "chat_request",
        "id": new_id(),
        "client": CLIENT,
        "role": "chat",
        "lane": "interactive",
        "user": "some-user",
        "deadline_ms": int(time.time() * 1000) + 60_000,
        "v": 1,
        "body": body(),
    }


def work(role: str) -> dict[str, Any]:
    now_ms = int(time.time() * 1000)
    return {
        "type": "chat_work",
        "id": new_id(),
        "account": ACCOUNT,
        "client": CLIENT,
        "user": "some-user",
        "role": role,
        "lane": "interactive",
        "complexity": "simple",
        "why": "role named in the request",
        "deadline_ms": now_ms + 60_000,
        "accepted_ms": now_ms,
        "stream": True,
        "vision": False,
        "estimated_tokens": 5,
        "hold_id": None,
        "body": body(),
    }


def body() -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
        ],
        "stream": True,
        "max_tokens": 5,
        "temperature": 0.5,
        "tools": [],
        "n": 1,
    }


def paths(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value, itself included."""
    found = [here]
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += paths(child, (*here, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], by: object) -> Any:
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


def nested(depth: int, *, closed: bool) -> str:
    return "[" * depth + ("]" * depth if closed else "")


@st.composite
def damaged(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """`good` as JSON, damaged in a random way."""
    text = json.dumps(good).encode()
    at = draw(st.integers(0, len(text) - 1))
    piece = draw(st.binary(min_size=1, max_size=4))
    damaged_text = {
        "unchanged": text,
        "bytes": piece * draw(st.integers(0, 20)),
        "half": text[:at],
        "flip": text[:at] + piece + text[at + len(piece) :],
        "insert": text[:at] + piece + text[at:],
        "utf8": text.replace(draw(st.sampled_from((b"some-user", b"Hello", b'"n"'))), b"\xff\xc3\x28"),
    }
    how = draw(st.sampled_from((*damaged_text, "value", "missing", "deep")))
    if how in damaged_text:
        return damaged_text[how]
    if how == "missing":
        field = draw(st.sampled_from(sorted(good)))
        return json.dumps({name: value for name, value in good.items() if name != field}).encode()
    where = draw(st.sampled_from(paths(good)))
    if how == "value":
        return json.dumps(replaced(good, where, draw(st.sampled_from(STRANGE_VALUES)))).encode()
    mark = "the nesting begins here"
    deep = nested(draw(st.sampled_from(DEPTHS)), closed=draw(st.booleans()))
    inside = {**good, "body": {**good["body"], "z": mark}}
    downward = draw(st.sampled_from((inside, {**good, "z": mark}, replaced(good, where, mark))))
    return json.dumps(downward).replace(f'"{mark}"', deep).encode()


def block(**fields: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def request_block(payload: bytes) -> bytes:
    """The headers of a request, with the id of the payload: the two must be the same.

    A payload that is barely too deep may be readable in one place of the router and not in another, which then needs
    the header.
    """
    try:
        read = json.loads(payload)
        request_id = read["id"]
    except (ValueError, RecursionError):
        request_id = new_id()
    except (KeyError, TypeError):
        return block(**{headers.CLIENT: CLIENT})
    if not isinstance(request_id, str) or not subjects.is_token(request_id):
        return block(**{headers.CLIENT: CLIENT})
    return block(**{headers.MESSAGE_ID: f"{ACCOUNT}.{CLIENT}.{request_id}", headers.CLIENT: CLIENT})


@st.composite
def requests(draw: st.DrawFn) -> RawMessage:
    payload = draw(damaged(request()))
    return RawMessage(subjects.request(ACCOUNT, "chat"), payload, request_block(payload))


@st.composite
def orders(draw: st.DrawFn) -> RawMessage:
    """Work published directly into a mailbox, without the router."""
    role = draw(st.sampled_from(ROLES))
    good = work(role)
    written = {headers.DEADLINE_MS: str(good["deadline_ms"])}
    if draw(st.booleans()):
        written[headers.REPLY_SUBJECT] = subjects.reply(ACCOUNT, CLIENT, good["id"])
    subject = subjects.work(role, "interactive", draw(st.sampled_from(RANKS)), "a7c")
    return RawMessage(subject, draw(damaged(good)), block(**written))


@st.composite
def hostile(draw: st.DrawFn) -> RawMessage:
    """A message with a valid body and an invalid subject or invalid headers."""
    how = draw(st.integers(0, 29))
    if how == 0:
        return RawMessage(draw(st.sampled_from(UNKNOWN_MAILBOXES)), json.dumps(work("chat")).encode())
    if how < 8:
        subject = draw(st.sampled_from(STRANGE_SUBJECTS))
        payload = json.dumps(request()).encode()
        return RawMessage(subject, payload, request_block(payload))
    if how < 18:
        subject, good = subjects.request(ACCOUNT, "chat"), request()
    else:
        subject, good = subjects.work("chat", "interactive", 0, "a7c"), work("chat")
    return RawMessage(subject, json.dumps(good).encode(), draw(st.sampled_from(STRANGE_BLOCKS)))


def messages() -> st.SearchStrategy[RawMessage]:
    return st.one_of(requests(), requests(), orders(), hostile())
