"""The OpenAPI document as one HTML page, without scripts and without anything from another server."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["PAGE_HEADERS", "html_page"]

_Json = Mapping[str, Any]

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem;border-bottom:1px solid #8886}
h3{font-size:1rem;margin:1rem 0 .25rem}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
summary{cursor:pointer;padding:.35rem 0}
summary b{display:inline-block;min-width:3.5rem}
details{border-bottom:1px solid #8883}
details>div{padding:0 0 1rem 1rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #8883}
td:first-child{white-space:nowrap}
"""
_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
PAGE_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
"""The browser loads nothing, and runs nothing, that is not in the page."""
_CODE: Final = re.compile(r"`([^`]+)`")


def html_page(document: _Json) -> str:
    """`document`: see openapi_document."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    groups = [
        _group(tag["name"], [each for each in operations if tag["name"] in each[2]["tags"]])
        for tag in document["tags"]
    ]
    schemas = "".join(_schema(name, each) for name, each in document["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{_escape(title)}</h1><p>{_prose(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>, OpenAPI 3.1.</p>'
        f"{''.join(groups)}<h2>Types</h2>{schemas}</body></html>"
    )


def _group(name: str, operations: Iterable[tuple[str, str, _Json]]) -> str:
    return f"<h2>{_escape(name)}</h2>{''.join(_operation(*each) for each in operations)}"


def _operation(method: str, path: str, operation: _Json) -> str:
    parts = [f"<p>{_prose(operation['description'])}</p>"] if "description" in operation else []
    if parameters := operation.get("parameters"):
        rows = [
            (each["name"], f"{each['in']}: {_type(each['schema'])}", each["description"])
            for each in parameters
        ]
        parts.append(f"<h3>Parameters</h3>{_table(rows)}")
    if body := operation.get("requestBody"):
        parts.append(f"<h3>Body</h3><p>{_type(body['content']['application/json']['schema'])}</p>")
    rows = [
        (status, _contents(response), response["description"])
        for status, response in operation["responses"].items()
    ]
    parts.append(f"<h3>Responses</h3>{_table(rows)}")
    key = "" if "security" in operation else " (no key)"
    return (
        f'<details id="{_escape(operation["operationId"])}"><summary><b>{method}</b> '
        f"<code>{_escape(path)}</code> {_escape(operation['summary'])}{key}</summary>"
        f"<div>{''.join(parts)}</div></details>"
    )


def _contents(response: _Json) -> str:
    return "<br>".join(
        f"<code>{_escape(media_type)}</code> {_type(content['schema'])}"
        for media_type, content in response.get("content", {}).items()
    )


def _schema(name: str, schema: _Json) -> str:
    required = schema.get("required", ())
    rows = [
        (field, _type(each) + ("" if field in required else ", optional"), each.get("description", ""))
        for field, each in schema.get("properties", {}).items()
    ]
    description = f"<p>{_prose(schema['description'])}</p>" if "description" in schema else ""
    return (
        f'<details id="{_escape(name)}"><summary><code>{_escape(name)}</code></summary>'
        f"<div>{description}{_table(rows)}</div></details>"
    )


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Each row: a name, HTML, and prose."""
    cells = [
        f"<tr><td><code>{_escape(name)}</code><td>{middle}<td>{_prose(text)}" for name, middle, text in rows
    ]
    return f"<table>{''.join(cells)}</table>"


def _type(schema: _Json) -> str:
    """A schema in a few words, as HTML."""
    if reference := schema.get("$ref"):
        name = _escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if alternatives := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in alternatives))
    if parts := schema.get("allOf"):
        return _type(parts[0])
    if values := schema.get("enum"):
        return " or ".join(f"<code>{_escape(str(value))}</code>" for value in values)
    kinds = schema.get("type", "any value")
    if kinds == "array":
        return f"list of {_type(schema.get('items', {}))}"
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return _escape(text + _limits(schema))


def _limits(schema: _Json) -> str:
    limits = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "minLength": "of at least",
        "maxLength": "of at most",
    }
    return "".join(f" {words} {schema[name]}" for name, words in limits.items() if name in schema)


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _escape(text))


def _escape(text: str) -> str:
    return html.escape(text)
