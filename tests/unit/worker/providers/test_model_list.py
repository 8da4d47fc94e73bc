"""A5: the forms in which providers list their models."""

from __future__ import annotations

import pytest

from services.worker.providers.model_list import read_model_list


@pytest.mark.parametrize(
    "body",
    [
        b'{"object":"list","data":[{"id":"llama3.2","object":"model"}]}',
        b'{"data":[{"id":"llama3.2:latest"}]}',
        b'{"data":["llama3.2"]}',
        b'[{"id":"llama3.2"}]',
        b'["LLAMA3.2"]',
        b'{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest"}]}',
        b'{"models":[{"name":"models/llama3.2"}]}',
        b'{"models":[{"name":"models/LLAMA3.2:latest"}]}',
        b'{"models":[{"model":"llama3.2"}]}',
        b'{"data":null,"models":[{"id":" llama3.2 "}]}',
        b'{"data":[7,null,{},{"id":null,"name":"llama3.2"}]}',
    ],
)
@pytest.mark.parametrize("name", ["llama3.2", "llama3.2:latest", "models/llama3.2", "Llama3.2"])
def test_a_model_is_found_in_every_list_format_and_name_form(body: bytes, name: str) -> None:
    assert read_model_list(body).lists_model(name)


@pytest.mark.parametrize("name", ["llama3.2:1b", "llama3", "org/llama3.2", ""])
def test_a_different_model_is_not_found(name: str) -> None:
    assert not read_model_list(b'{"data":[{"id":"llama3.2:latest"}]}').lists_model(name)


def test_a_list_with_further_pages_is_incomplete() -> None:
    assert read_model_list(b'{"data":[{"id":"a"}],"has_more":false}').complete
    assert not read_model_list(b'{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}').complete
    assert not read_model_list(b'{"models":[{"name":"a"}],"nextPageToken":"x"}').complete


@pytest.mark.parametrize(
    "body", [b"", b"null", b"7", b'"x"', b"{}", b'{"data":7}', b'{"data":[{"id":5}]}', b"<html>", b"\xff"]
)
def test_a_body_that_is_not_a_list_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        read_model_list(body)
