// OpenAI's SDK for Node.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { BASE_URL, cancelled, control, KEY, QUESTION, until, withBehaviour } from "./gateway.mjs";

const ai = new OpenAI({ baseURL: BASE_URL, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: QUESTION }];
const both = [{ role: "user", content: "What is the weather, and what time is it in Rome?" }];
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name, parameters: city } }));
const Forecast = z.object({
  city: z.string(),
  unit: z.enum(["celsius", "fahrenheit"]),
  days: z.array(z.object({ degrees: z.number() })),
  note: z.string().nullable(),
});

test("a whole answer, with the id of the request", async () => {
  const { data, request_id } = await ai.chat.completions.create({ model: "chat", messages }).withResponse();
  assert.ok(data.choices[0].message.content.includes(QUESTION));
  assert.equal(data.model, "m-chat");
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.ok(data.id.includes(request_id));
});

test("a stream gives the whole answer and its usage", async () => {
  const whole = await ai.chat.completions.create({ model: "chat", messages });
  const stream = await ai.chat.completions.create({
    model: "chat",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("parallel tool calls of a stream are complete", async () => {
  const whole = await ai.chat.completions.create({ model: "chat", messages: both, tools });
  const streamed = await ai.chat.completions.stream({ model: "chat", messages: both, tools }).finalChatCompletion();
  const names = streamed.choices[0].message.tool_calls.map((call) => call.function.name);
  assert.deepEqual(names, ["get_weather", "get_time"]);
  const calls = (answer) => answer.choices[0].message.tool_calls.map((call) => call.function.arguments);
  assert.deepEqual(calls(streamed), calls(whole));
});

test("the first choice of each chunk gives the whole arguments", async () => {
  const stream = await ai.chat.completions.create({ model: "chat", messages: both, tools, stream: true });
  const parts = ["", ""];
  for await (const chunk of stream) {
    for (const call of chunk.choices[0]?.delta.tool_calls ?? []) parts[call.index] += call.function.arguments ?? "";
  }
  assert.deepEqual(parts.map((part) => Object.keys(JSON.parse(part))), [["city"], ["city"]]);
});

test("runTools calls the function and gets an answer with its result", async () => {
  const cities = [];
  const function_ = zodFunction({
    name: "get_weather",
    parameters: z.object({ city: z.string() }),
    function: ({ city }) => {
      cities.push(city);
      return "21 degrees";
    },
  });
  for (const stream of [false, true]) {
    const runner = ai.chat.completions.runTools({ model: "chat", messages: both, tools: [function_], stream });
    assert.ok((await runner.finalContent()).includes("21 degrees"));
  }
  assert.equal(cities.length, 2);
});

test("a structured answer is parsed, whole and streamed", async () => {
  const body = { model: "chat", messages, response_format: zodResponseFormat(Forecast, "forecast") };
  const whole = await ai.chat.completions.parse(body);
  assert.ok(Forecast.parse(whole.choices[0].message.parsed));
  const streamed = await ai.chat.completions.stream(body).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.parsed, whole.choices[0].message.parsed);
});

test("several choices and log probabilities, whole and streamed", async () => {
  const body = { model: "chat", messages, n: 2, logprobs: true, top_logprobs: 1 };
  const whole = await ai.chat.completions.create(body);
  const streamed = await ai.chat.completions.stream(body).finalChatCompletion();
  for (const choice of whole.choices) {
    assert.equal(choice.logprobs.content.map((token) => token.token).join(""), choice.message.content);
    const again = streamed.choices[choice.index];
    assert.equal(again.message.content, choice.message.content);
    assert.deepEqual(again.logprobs.content, choice.logprobs.content);
    assert.equal(again.finish_reason, "stop");
  }
});

test("models are listed", async () => {
  const names = [];
  for await (const model of ai.models.list()) names.push(model.id);
  assert.ok(names.includes("chat"));
});

test("errors have the class of their status", async () => {
  await assert.rejects(ai.chat.completions.create({ model: "nothing", messages }), OpenAI.NotFoundError);
  await assert.rejects(ai.chat.completions.create({ model: "chat", messages: [] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "messages");
    return true;
  });
});

test("a stream that breaks is an error", async () => {
  await withBehaviour("m-logic", "cut=3", async () => {
    const stream = await ai.chat.completions.create({ model: "logic", messages, stream: true });
    await assert.rejects(async () => {
      for await (const chunk of stream) assert.ok(chunk);
    }, OpenAI.APIError);
  });
});

test("comments before the first chunk are ignored", async () => {
  await withBehaviour("m-logic", "slow=3", async () => {
    const stream = ai.chat.completions.stream({ model: "logic", messages });
    assert.ok((await stream.finalContent()).includes(QUESTION));
  });
});

test("aborting a request cancels the call of the provider", async () => {
  const before = await cancelled("m-logic");
  await withBehaviour("m-logic", "silent", () =>
    assert.rejects(ai.chat.completions.create({ model: "logic", messages }, { timeout: 500 }), OpenAI.APIConnectionTimeoutError),
  );
  await until(async () => (await cancelled("m-logic")) === before + 1);
});

test("leaving a stream cancels the call of the provider", async () => {
  const before = await cancelled("m-logic");
  await control("PUT", "hold", { after_tokens: 3 });
  try {
    const stream = await ai.chat.completions.create({ model: "logic", messages, stream: true });
    for await (const chunk of stream) {
      assert.ok(chunk);
      break;
    }
    await until(async () => (await cancelled("m-logic")) === before + 1);
  } finally {
    await control("PUT", "hold", {});
  }
});

test("what the guard blocks is a bad request with its categories", async () => {
  const asked = [{ role: "user", content: "My number is 536-22-8719." }];
  for (const stream of [false, true]) {
    await assert.rejects(ai.chat.completions.create({ model: "chat", messages: asked, stream }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.deepEqual([error.code, error.error.categories], ["blocked", ["personal_data/us_ssn"]]);
      return true;
    });
  }
});

test("texts are moderated", async () => {
  const { results } = await ai.moderations.create({ input: ["Good morning", "How do I build a bomb?"] });
  assert.deepEqual(results.map((result) => result.flagged), [false, true]);
  assert.ok(results[1].categories["illicit/violent"]);
});
