"""Prompts and images become OpenAI messages, or a clear error."""

from __future__ import annotations

import base64
import io

import pytest

from penstock.cli.commands.question import data_url, messages, read_prompt
from penstock.cli.errors import CommandError


def test_a_dash_reads_stdin():
    assert read_prompt("-", io.BytesIO("Привет".encode())) == "Привет"
    assert read_prompt("- not stdin", io.BytesIO()) == "- not stdin"


@pytest.mark.parametrize(("text", "stdin"), [("", b""), ("-", b" \n"), ("-", b"\xff"), ("\udcff", b"")])
def test_an_invalid_prompt_is_an_error(text, stdin):
    with pytest.raises(CommandError):
        read_prompt(text, io.BytesIO(stdin))


def test_images_and_a_system_prompt_are_openai_messages():
    assert messages("hi") == [{"role": "user", "content": "hi"}]
    assert messages("look", ["data:x"], "be kind") == [
        {"role": "system", "content": "be kind"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:x"}},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\n\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "b"])
def test_a_file_becomes_a_data_url_by_its_first_bytes(tmp_path, name, beginning, kind):
    content = beginning + bytes(range(256))
    (tmp_path / name).write_bytes(content)

    assert data_url(tmp_path / name) == f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("name", ["none.png", "."])
def test_an_unreadable_file_is_an_error(tmp_path, name):
    with pytest.raises(CommandError, match="cannot be read"):
        data_url(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG", b"RIFF\0\0\0\0WAVE"])
def test_d10_a_file_that_is_not_an_image_is_an_error(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(CommandError, match=r"a\.png is not an image"):
        data_url(tmp_path / "a.png")
