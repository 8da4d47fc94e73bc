"""The messages of a Messages request and their content blocks, translated to chat messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw, Struct

from services.edge.dialects.dialect import InvalidField

__all__ = ["BLOCK_TYPES", "Message", "TextBlock", "to_chat_messages", "to_system_text"]

_BILLING_HEADER: Final = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n*")
"""Claude Code begins the system prompt with this line. It is not meant for the model, and it changes with every
request, which would defeat the prompt caches of providers (claude-code issue 68900)."""
_PARAGRAPH: Final = "\n\n"
_USER_BLOCKS: Final = "text, image, document or tool_result"
_RESULT_BLOCKS: Final = "text, image, document or tool_reference"
BLOCK_TYPES: Final = {
    "messages[].role": "user, assistant or system",
    "system[].type": "text",
    "messages[].content[].type": f"{_USER_BLOCKS}; of the assistant text, thinking or tool_use; of the system text",
    "messages[].content[].content[].type": _RESULT_BLOCKS,
    "messages[].content[].source.type": "base64 or url for an image, text for a document",
    "messages[].content[].content[].source.type": "base64 or url for an image, text for a document",
}
"""The types that are supported, by the path of the field."""


class TextBlock(Struct, tag="text"):
    text: str


class _Base64(Struct, tag="base64"):
    data: str
    media_type: str


class _Url(Struct, tag="url"):
    url: str


class _File(Struct, tag="file"):
    pass


class _PlainText(Struct, tag="text"):
    data: str


class _Image(Struct, tag="image"):
    source: _Base64 | _Url | _File


class _Content(Struct, tag="content"):
    pass


class _Citations(Struct):
    enabled: bool | None = None


class _Document(Struct, tag="document"):
    source: _PlainText | _Content | _Base64 | _Url | _File
    title: str | None = None
    context: str | None = None
    citations: _Citations | None = None


class _ToolReference(Struct, tag="tool_reference"):
    tool_name: str


class _ToolResult(Struct, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | _Image | _Document | _ToolReference] | None = None
    is_error: bool | None = None


class _ToolUse(Struct, tag="tool_use"):
    id: str
    name: str
    input: Raw


class _Thinking(Struct, tag="thinking"):
    pass


class _RedactedThinking(Struct, tag="redacted_thinking"):
    pass


class _UserMessage(Struct, tag_field="role", tag="user"):
    content: str | list[TextBlock | _Image | _Document | _ToolResult]


class _AssistantMessage(Struct, tag_field="role", tag="assistant"):
    content: str | list[TextBlock | _Thinking | _RedactedThinking | _ToolUse]


class _SystemMessage(Struct, tag_field="role", tag="system"):
    """Claude Code sends these among the others since 2.1.154."""

    content: str | list[TextBlock]


Message = _UserMessage | _AssistantMessage | _SystemMessage

_Part = dict[str, Any]


def to_chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Thinking blocks and empty texts are dropped, and messages that have nothing else. Raises InvalidField."""
    translated: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        path = f"messages[{at}].content"
        if isinstance(message, _UserMessage):
            translated += _from_user(message.content, path)
        elif isinstance(message, _AssistantMessage):
            translated += _from_assistant(message.content, path)
        elif text := to_system_text(message.content):
            translated.append({"role": "system", "content": text})
    return translated


def to_system_text(content: str | list[TextBlock]) -> str:
    texts = [content] if isinstance(content, str) else [block.text for block in content]
    return _PARAGRAPH.join(filter(None, [_BILLING_HEADER.sub("", text) for text in texts]))


def _from_user(content: str | list[Any], path: str) -> list[dict[str, Any]]:
    """Tool results precede the rest of their message, because chat completions require them right after the calls.
    Chat tools can only return text, so the images among their results become part of the user's message.
    """
    blocks = [TextBlock(content)] if isinstance(content, str) else content
    results: list[dict[str, Any]] = []
    images: list[_Part] = []
    parts: list[_Part] = []
    for at, block in enumerate(blocks):
        if not isinstance(block, _ToolResult):
            parts += _parts(block, f"{path}[{at}]")
            continue
        text, pictures = _result(block, f"{path}[{at}]")
        results.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": text})
        images += pictures
    if images or parts:
        return [*results, {"role": "user", "content": _joined([*images, *parts])}]
    if not results:
        raise InvalidField(path, "must contain text, an image, a document or a tool result")
    return results


def _from_assistant(content: str | list[Any], path: str) -> list[dict[str, Any]]:
    blocks = [TextBlock(content)] if isinstance(content, str) else content
    # A model's text is split between blocks at any place, so nothing is put between them.
    text = "".join([block.text for block in blocks if isinstance(block, TextBlock)])
    calls = [_call(block, f"{path}[{at}]") for at, block in enumerate(blocks) if isinstance(block, _ToolUse)]
    if calls:
        return [{"role": "assistant", "content": text or None, "tool_calls": calls}]
    return [{"role": "assistant", "content": text}] if text else []


def _call(block: _ToolUse, path: str) -> dict[str, Any]:
    arguments = bytes(block.input).decode()
    if not arguments.startswith("{"):
        raise InvalidField(f"{path}.input", "must be an object")
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _result(block: _ToolResult, path: str) -> tuple[str, list[_Part]]:
    """The text of a tool result, and its images below a line that names the tool call."""
    blocks = [TextBlock(block.content)] if isinstance(block.content, str) else block.content or []
    parts = [part for at, each in enumerate(blocks) for part in _parts(each, f"{path}.content[{at}]")]
    text = _PARAGRAPH.join([part["text"] for part in parts if part["type"] == "text"])
    images = [part for part in parts if part["type"] != "text"]
    if images:
        images.insert(0, _text_part(f"Images in the result of tool call {block.tool_use_id}:"))
        text = text or "(The images of this result are in the next message.)"
    if block.is_error:
        text = f"Error: {text or 'the tool failed'}"  # chat completions have no field for it
    return text, images


def _parts(block: Any, path: str) -> list[_Part]:
    """The content parts of one block; none for an empty text."""
    match block:
        case TextBlock():
            return [_text_part(block.text)] if block.text else []
        case _Image():
            return [_image_part(block.source, f"{path}.source")]
        case _Document():
            return _document_parts(block, path)
        case _:
            return [_text_part(block.tool_name)]


def _document_parts(document: _Document, path: str) -> list[_Part]:
    if document.citations is not None and document.citations.enabled:
        raise InvalidField(f"{path}.citations", "citations have no translation; omit this field")
    if not isinstance(document.source, _PlainText):
        raise InvalidField(
            f"{path}.source",
            "only text documents are supported; send the text of the file as a `text` source",
        )
    texts = (document.title, document.context, document.source.data)
    return [_text_part(text) for text in texts if text]


def _image_part(source: _Base64 | _Url | _File, path: str) -> _Part:
    match source:
        case _Base64():
            url = f"data:{source.media_type};base64,{source.data}"
        case _Url():
            url = source.url
        case _File():
            raise InvalidField(
                path, "files cannot be read here; send the image as a `base64` or `url` source"
            )
    return {"type": "image_url", "image_url": {"url": url}}


def _text_part(text: str) -> _Part:
    return {"type": "text", "text": text}


def _joined(parts: list[_Part]) -> str | list[_Part]:
    """One text if there is nothing else: some providers accept no list."""
    if all(part["type"] == "text" for part in parts):
        return _PARAGRAPH.join([part["text"] for part in parts])
    return parts
