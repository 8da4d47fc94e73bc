// The gateway as the clients see it, and the simulated provider behind it.
import assert from "node:assert/strict";

export const EDGE = process.env.PENSTOCK_EDGE;
export const BASE_URL = `${EDGE}/v1`;
export const KEY = "any";
export const QUESTION = "Why is the sky blue?";

export async function control(method, path, body) {
  const answer = await fetch(`${process.env.PENSTOCK_SIMULATOR}/sim/${path}`, { method, body: JSON.stringify(body) });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

export async function withBehaviour(model, behaviour, run) {
  await control("PUT", "behaviour", { [model]: behaviour });
  try {
    return await run();
  } finally {
    await control("PUT", "behaviour", { [model]: "" });
  }
}

export async function cancelled(model) {
  const { models } = await control("GET", "counts");
  return models[model]?.cancelled ?? 0;
}

export async function until(condition) {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, "the condition did not come true");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
