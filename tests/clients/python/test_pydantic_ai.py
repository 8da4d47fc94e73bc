"""pydantic-ai's agents: tools, structured output in each of its modes, streams."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from conftest import BASE_URL, KEY
from pydantic import BaseModel, Field
from pydantic_ai import (
    Agent,
    BinaryContent,
    FunctionToolCallEvent,
    ModelHTTPError,
    NativeOutput,
    PromptedOutput,
    ThinkingPart,
    ToolOutput,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

QUESTION = "Why is the sky blue?"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718"
    "e3660000000049454e44ae426082"
)


class Weather(BaseModel):
    """The weather at a place."""

    city: str = Field(min_length=1)
    degrees: float = Field(ge=-90, le=60)
    sky: Literal["clear", "cloudy"]
    hours: list[int] = Field(min_length=1)


def model(name: str = "chat") -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=BASE_URL, api_key=KEY))


def agent_with_tool(**options: Any) -> tuple[Agent[None, Any], list[str]]:
    agent = Agent(model(), **options)
    cities: list[str] = []

    @agent.tool_plain
    def get_weather(city: str, days: int) -> str:
        """The weather of some days."""
        cities.append(f"{city}: {days}")
        return "21 degrees"

    return agent, cities


async def test_an_answer_with_its_usage_and_model():
    result = await Agent(model(), instructions="Be brief.").run(QUESTION)
    assert QUESTION in result.output
    assert result.usage.output_tokens > 0
    assert result.response.model_name == "m-chat"


async def test_a_stream_gives_the_whole_answer():
    agent = Agent(model())
    whole = (await agent.run(QUESTION)).output
    async with agent.run_stream(QUESTION) as result:
        parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(parts) == whole
    assert len(parts) > 1


async def test_an_agent_calls_its_tool_and_answers_with_the_result():
    agent, cities = agent_with_tool()
    result = await agent.run("What is the weather in Rome for 3 days?")
    assert "21 degrees" in result.output
    (city,) = cities
    assert "Rome" in city
    assert city.endswith(": 3")
    assert result.usage.requests == 2


async def test_a_streamed_run_calls_the_tool_with_complete_arguments():
    agent, cities = agent_with_tool()
    calls: list[FunctionToolCallEvent] = []
    async with agent.iter("What is the weather in Rome for 3 days?") as run:
        async for node in run:
            if Agent.is_model_request_node(node) or Agent.is_call_tools_node(node):
                async with node.stream(run.ctx) as events:
                    calls += [event async for event in events if isinstance(event, FunctionToolCallEvent)]
    assert run.result is not None
    assert "21 degrees" in run.result.output
    (call,) = calls
    assert call.part.args_as_dict()["days"] == 3
    assert len(cities) == 1


@pytest.mark.parametrize("mode", [ToolOutput, NativeOutput, PromptedOutput])
async def test_structured_output_is_validated_in_each_mode(mode: Any):
    agent = Agent(model(), output_type=mode(Weather))
    result = await agent.run("The sky is cloudy, at 12 degrees.")
    assert isinstance(result.output, Weather)
    assert (result.output.sky, result.output.degrees) == ("cloudy", 12)
    assert result.usage.requests == 1, "the first answer is valid"


async def test_structured_output_after_a_tool_call():
    agent, cities = agent_with_tool(output_type=Weather)
    result = await agent.run("What is the weather in Rome?")
    assert isinstance(result.output, Weather)
    assert len(cities) == 1


async def test_structured_output_is_streamed():
    agent = Agent(model(), output_type=NativeOutput(Weather))
    async with agent.run_stream("The sky is clear.") as result:
        outputs = [output async for output in result.stream_output(debounce_by=None)]
    assert outputs[-1] == await result.get_output()


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_is_a_part_of_the_response(*, stream: bool):
    agent = Agent(model("reasoning"))
    if stream:
        async with agent.run_stream(QUESTION) as result:
            await result.get_output()
            parts = result.all_messages()[-1].parts
    else:
        parts = (await agent.run(QUESTION)).response.parts
    (thought,) = (part for part in parts if isinstance(part, ThinkingPart))
    assert thought.content.endswith("before I answer.")


async def test_an_image_reaches_the_model():
    content = ["What is it?", BinaryContent(PIXEL, media_type="image/png")]
    result = await Agent(model("vision")).run(content)
    assert "1 image" in result.output


async def test_an_unknown_model_is_an_error_with_its_status():
    with pytest.raises(ModelHTTPError) as failed:
        await Agent(model("no-such-model")).run(QUESTION)
    assert failed.value.status_code == 404
