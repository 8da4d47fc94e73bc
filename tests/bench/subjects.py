"""The measured operations: a request through Penstock, and the bare SDK call for comparison."""

from __future__ import annotations

from openai import AsyncOpenAI

from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta
from tests.bench.busy import bare_call
from tests.bench.load import Ask

__all__ = [
    "MODEL",
    "PROMPT",
    "direct_stream",
    "direct_whole",
    "penstock_stream",
    "penstock_whole",
    "streamed_prompt",
]

PROMPT = "What is the capital of France, and how did it come to be the capital?"
MODEL = "m-chat"


def streamed_prompt(tokens: int) -> str:
    return f"{PROMPT} [[tokens={tokens}]]"


def penstock_whole(client: Client) -> Ask:
    async def ask() -> None:
        reply = await client.chat(PROMPT, role="chat", max_tokens=5000)
        assert reply.finish_reason == "stop", reply

    return ask


def penstock_stream(client: Client, tokens: int) -> Ask:
    async def ask() -> None:
        length = 0
        async for event in client.stream(streamed_prompt(tokens), role="chat", max_tokens=5000):
            if isinstance(event, Delta):
                length += len(event.text)
            elif isinstance(event, Completed):
                assert event.usage.output_tokens == tokens, event
        assert length > tokens

    return ask


def direct_whole(client: AsyncOpenAI) -> Ask:
    async def ask() -> None:
        with bare_call():
            reply = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": PROMPT}], max_tokens=5000
            )
        assert reply.choices[0].finish_reason == "stop", reply

    return ask


def direct_stream(client: AsyncOpenAI, tokens: int) -> Ask:
    async def ask() -> None:
        length = 0
        with bare_call():
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": streamed_prompt(tokens)}],
                max_tokens=5000,
                stream=True,
            )
            async for chunk in stream:
                if chunk.choices:
                    length += len(chunk.choices[0].delta.content or "")
        assert length > tokens

    return ask
