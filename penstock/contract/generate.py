"""Write schemas/: JSON Schemas, AsyncAPI document, README. `python -m penstock.contract.generate [--check]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.contract.channel import Channel
from penstock.contract.channels import CHANNELS, MESSAGES
from penstock.contract.errors import ERRORS

__all__ = ["asyncapi", "examples", "json_schema", "main", "readme", "tag"]

_ROOT: Final = Path(__file__).parents[2]
_SCHEMAS: Final = _ROOT / "schemas"
_EXAMPLES: Final = _SCHEMAS / "examples"
_README: Final = """\
# The contract

The messages of Penstock for every language. All files here except `examples/` are generated from
[penstock/contract](../penstock/contract) by `make schemas` and checked by `make check`.

- `<message>.json`: a self-contained JSON Schema (2020-12) of each message
- [asyncapi.json](asyncapi.json): the channels as AsyncAPI 3.0, from the view of an application, with the error codes
- `examples/`: one example per message; the tests validate each against its schema

Readers ignore unknown fields. A new field has a default, a field never changes its type, and a breaking change gets a
new `type`. Events are UTF-8 JSON; instants are Unix milliseconds, money is an integer in millionths of a US dollar.

| channel | messages | subject or key | delivery | producers | consumers | limits | purpose |
|---|---|---|---|---|---|---|---|"""
_REF: Final = "#/components/schemas/{name}"


def tag(message: type[msgspec.Struct]) -> str:
    """The value of `type` of a message on the wire."""
    return str(message.__struct_config__.tag)


def examples() -> dict[str, Any]:
    """The example of each message, by tag."""
    return {path.stem: msgspec.json.decode(path.read_bytes()) for path in sorted(_EXAMPLES.glob("*.json"))}


def json_schema(message: type[msgspec.Struct]) -> dict[str, Any]:
    """A self-contained JSON Schema 2020-12 of one message."""
    (schema,), components = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": tag(message),
        **schema,
        "$defs": components,
    }


def _channel(channel: Channel) -> dict[str, Any]:
    parameters = re.findall(r"\{(\w+)\}", channel.subject)
    return {
        "address": channel.subject,
        "title": channel.name,
        "description": f"{channel.purpose} Delivery: {channel.delivery}. Limits: {channel.limits}.",
        "parameters": {name: {} for name in parameters},
        "messages": {
            tag(message): {"$ref": f"#/components/messages/{tag(message)}"} for message in channel.messages
        },
        "x-penstock": {
            "stream": channel.stream,
            "producers": list(channel.producers),
            "consumers": list(channel.consumers),
        },
    }


def _operations(channel: Channel) -> dict[str, Any]:
    """The operations of an application on the channel."""
    reference = {"channel": {"$ref": f"#/channels/{channel.name}"}}
    operations: dict[str, Any] = {}
    if "application" in channel.producers:
        operations[f"send_{channel.name}"] = {"action": "send", **reference}
    if {"application", "any observer"} & set(channel.consumers):
        operations[f"receive_{channel.name}"] = {"action": "receive", **reference}
    return operations


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of an application that uses Penstock."""
    _, schemas = msgspec.json.schema_components(MESSAGES, ref_template=_REF)
    shown = examples()
    messages = {
        tag(message): {
            "name": tag(message),
            "contentType": "application/json",
            "payload": {"$ref": _REF.format(name=message.__name__)},
            "examples": [{"payload": shown[tag(message)]}],
        }
        for message in MESSAGES
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Penstock",
            "version": "1",
            "description": "An LLM gateway on NATS: publish a request event, read its reply subject.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {key: value for channel in CHANNELS for key, value in _operations(channel).items()},
        "components": {"messages": messages, "schemas": schemas},
        "x-penstock-errors": msgspec.to_builtins(ERRORS),
    }


def readme() -> str:
    """The page of schemas/: what the files are, and one table of all channels."""
    rows = [
        f"| {channel.name} | {_messages(channel)} | `{channel.subject}` | {_delivery(channel)} "
        f"| {', '.join(channel.producers)} | {', '.join(channel.consumers)} | {channel.limits} | {channel.purpose} |"
        for channel in CHANNELS
    ]
    return "\n".join([_README, *rows, ""])


def _messages(channel: Channel) -> str:
    links = [f"[{tag(message)}]({tag(message)}.json)" for message in channel.messages]
    return ", ".join(links) or "any message"


def _delivery(channel: Channel) -> str:
    return channel.delivery if channel.stream is None else f"{channel.delivery} (`{channel.stream}`)"


def _documents() -> dict[Path, bytes]:
    """The content of every generated file."""
    contents = {_SCHEMAS / f"{tag(message)}.json": json_schema(message) for message in MESSAGES}
    contents[_SCHEMAS / "asyncapi.json"] = asyncapi()
    documents = {
        path: msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=2) + b"\n"
        for path, content in contents.items()
    }
    return {**documents, _SCHEMAS / "README.md": readme().encode()}


def main(arguments: list[str]) -> int:
    """Write the files that are missing or differ; with `--check` report them and return 1."""
    wanted = _documents()
    stale = [path for path, content in wanted.items() if not path.is_file() or path.read_bytes() != content]
    stale += [path for path in _SCHEMAS.glob("*.json") if path not in wanted]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(_ROOT)} is out of date; run: make schemas\n")
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
