// The Vercel AI SDK with its provider for OpenAI-compatible APIs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { BASE_URL, cancelled, control, KEY, QUESTION, until, withBehaviour } from "./gateway.mjs";

const penstock = createOpenAICompatible({
  name: "penstock",
  baseURL: BASE_URL,
  apiKey: KEY,
  includeUsage: true,
  supportsStructuredOutputs: true, // without it the SDK keeps the schema for itself
});
const model = penstock("chat");
const weather = "What is the weather in Rome?";
const Forecast = z.object({
  city: z.string(),
  unit: z.enum(["celsius", "fahrenheit"]),
  days: z.array(z.object({ degrees: z.number() })).min(1),
});

function tools(cities) {
  const get_weather = tool({
    description: "The weather",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      cities.push(city);
      return "21 degrees";
    },
  });
  return { get_weather };
}

test("generateText gives text, usage, model and finish reason", async () => {
  const result = await generateText({ model, prompt: QUESTION });
  assert.ok(result.text.includes(QUESTION));
  assert.equal(result.finishReason, "stop");
  assert.equal(result.response.modelId, "m-chat");
  assert.equal(result.usage.outputTokens, 40);
});

test("streamText gives the whole text and its usage", async () => {
  const whole = await generateText({ model, prompt: QUESTION });
  const result = streamText({ model, prompt: QUESTION });
  let text = "";
  for await (const part of result.textStream) text += part;
  assert.equal(text, whole.text);
  assert.equal((await result.usage).outputTokens, 40);
  assert.equal(await result.finishReason, "stop");
});

test("a tool is called and its result answered", async () => {
  const cities = [];
  const result = await generateText({ model, prompt: weather, tools: tools(cities), stopWhen: stepCountIs(3) });
  assert.ok(result.text.includes("21 degrees"));
  assert.equal(result.steps.length, 2);
  assert.deepEqual(cities, ["What is the weather in Rome?"]);
});

test("a streamed tool call has its complete arguments", async () => {
  const cities = [];
  const result = streamText({ model, prompt: weather, tools: tools(cities), stopWhen: stepCountIs(3) });
  const kinds = [];
  for await (const part of result.fullStream) kinds.push(part.type);
  assert.ok(kinds.filter((kind) => kind === "tool-input-delta").length > 1);
  assert.ok(kinds.includes("tool-call"));
  assert.ok((await result.text).includes("21 degrees"));
  assert.deepEqual(cities, ["What is the weather in Rome?"]);
});

test("structured output follows its schema", async () => {
  const output = Output.object({ schema: Forecast });
  const result = await generateText({ model, prompt: "Of Rome, in fahrenheit.", output });
  assert.ok(Forecast.parse(result.output));
  assert.equal(result.output.unit, "fahrenheit");
});

test("structured output is streamed", async () => {
  const result = streamText({ model, prompt: "Of Rome.", output: Output.object({ schema: Forecast }) });
  let last;
  for await (const partial of result.partialOutputStream) last = partial;
  assert.deepEqual(await result.output, last);
  assert.ok(Forecast.parse(last));
});

test("reasoning comes apart from the text, whole and streamed", async () => {
  const whole = await generateText({ model: penstock("reasoning"), prompt: QUESTION });
  assert.ok(whole.reasoningText.endsWith("before I answer."));
  assert.ok(whole.usage.outputTokenDetails.reasoningTokens > 0);
  const result = streamText({ model: penstock("reasoning"), prompt: QUESTION });
  assert.equal(await result.reasoningText, whole.reasoningText);
  assert.equal(await result.text, whole.text);
});

test("an error has its status, and only what may succeed is retried", async () => {
  for (const [name, status, retryable] of [
    ["nothing", 404, false],
    ["logic", 503, true],
  ]) {
    await withBehaviour("m-logic", "503", () =>
      assert.rejects(generateText({ model: penstock(name), prompt: QUESTION, maxRetries: 0 }), (error) => {
        assert.ok(APICallError.isInstance(error));
        assert.equal(error.statusCode, status);
        assert.equal(error.isRetryable, retryable);
        return true;
      }),
    );
  }
});

test("a stream that breaks ends with an error", async () => {
  await withBehaviour("m-logic", "cut=3", async () => {
    const errors = [];
    const result = streamText({ model: penstock("logic"), prompt: QUESTION, maxRetries: 0, onError: () => {} });
    for await (const part of result.fullStream) if (part.type === "error") errors.push(part.error);
    assert.equal(errors.length, 1);
  });
});

test("comments before the first chunk are ignored", async () => {
  await withBehaviour("m-logic", "slow=3", async () => {
    assert.ok((await streamText({ model: penstock("logic"), prompt: QUESTION }).text).includes(QUESTION));
  });
});

test("aborting a stream cancels the call of the provider", async () => {
  const before = await cancelled("m-logic");
  await control("PUT", "hold", { after_tokens: 3 });
  try {
    const abort = new AbortController();
    const result = streamText({ model: penstock("logic"), prompt: QUESTION, abortSignal: abort.signal, onError: () => {} });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") abort.abort();
    }
    await until(async () => (await cancelled("m-logic")) === before + 1);
  } finally {
    await control("PUT", "hold", {});
  }
});
