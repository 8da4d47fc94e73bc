"""LangChain's ChatOpenAI and OpenAIEmbeddings in the standard suite `langchain-tests`, unit and integration half."""

from __future__ import annotations

import base64
from typing import Any, ClassVar

import httpx
import pytest
from conftest import BASE_URL, KEY
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite downloads its images, documents and sounds; the provider behind the gateway does not look at them."""
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=PIXEL))
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none")


class ChatOpenAITests:
    chat_model_class = ChatOpenAI
    chat_model_params: ClassVar[dict[str, Any]] = {
        "model": "chat",
        "base_url": BASE_URL,
        "api_key": KEY,
        "stream_usage": True,
        "max_retries": 0,
    }
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    supports_model_override = True
    model_override_value = "m-fast"


class TestUnit(ChatOpenAITests, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        variables = {"OPENAI_API_KEY": KEY, "OPENAI_API_BASE": BASE_URL}
        return variables, {"model": "chat"}, {"openai_api_base": BASE_URL}


class TestIntegration(ChatOpenAITests, ChatModelIntegrationTests):
    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": ["reasoning_output"], "stream": ["reasoning_output"]}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        model = ChatOpenAI(**{**self.chat_model_params, "model": "reasoning"})
        if not stream:
            return model.invoke([HumanMessage("Why?")])
        first, *others = model.stream([HumanMessage("Why?")])
        for chunk in others:
            first += chunk
        return first


async def test_the_model_of_an_answer_is_the_one_that_answered():
    model = ChatOpenAI(**ChatOpenAITests.chat_model_params)
    answer = await model.ainvoke("Hello")
    assert answer.response_metadata["model_name"] == "m-chat"
    assert answer.response_metadata["finish_reason"] == "stop"


async def test_parallel_tool_calls_of_a_stream_are_complete():
    def tool(name: str) -> dict[str, Any]:
        city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        return {"name": name, "description": name, "parameters": city}

    model = ChatOpenAI(**ChatOpenAITests.chat_model_params).bind_tools(
        [tool("get_weather"), tool("get_time")]
    )
    question = "What is the weather, and what time is it in Rome?"
    whole = await model.ainvoke(question)
    chunks = [chunk async for chunk in model.astream(question)]
    streamed = chunks[0]
    for chunk in chunks[1:]:
        streamed += chunk
    assert [call["args"] for call in streamed.tool_calls] == [call["args"] for call in whole.tool_calls]
    assert [call["name"] for call in streamed.tool_calls] == ["get_weather", "get_time"]


class OpenAIEmbeddingsTests:
    embeddings_class = OpenAIEmbeddings
    embedding_model_params: ClassVar[dict[str, Any]] = {
        "model": "embed",
        "base_url": BASE_URL,
        "api_key": KEY,
        "check_embedding_ctx_length": False,  # else it downloads the vocabulary of a tokenizer
        "max_retries": 0,
    }


class TestEmbeddingsUnit(OpenAIEmbeddingsTests, EmbeddingsUnitTests):
    pass


class TestEmbeddingsIntegration(OpenAIEmbeddingsTests, EmbeddingsIntegrationTests):
    pass
