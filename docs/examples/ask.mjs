// A request to Penstock from any language: this file uses the NATS text protocol over a bare socket and no package.
//
//   node ask.mjs "Why is the sky blue?"          NATS_URL, PENSTOCK_ACCOUNT and PENSTOCK_ROLE are optional
//
// With a NATS client library only the function `ask` is needed. This file does not reconnect: when the connection is
// lost it ends with status 1, and the answer can be read from the store for 15 minutes by the id it printed.
// The answer is written to stdout, the request's id and all other output to stderr. Exit status: 0 completed, 1 failed.

import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const account = process.env.PENSTOCK_ACCOUNT ?? "demo";
const role = process.env.PENSTOCK_ROLE ?? "auto";
const client = `node-${process.pid}`;
const PATIENCE_MS = 120_000;
const RETRY_MS = 250;
const MAX_READS = 12;

async function ask(nats, question) {
  const id = randomUUID();
  const replySubject = `llm.reply.${account}.${client}.${id}`;
  const request = {
    type: "chat_request",
    id,
    client,
    role,
    body: { messages: [{ role: "user", content: question }], stream: true },
  };

  // Subscribe before the request is published, so that no event is missed.
  const live = nats.subscribe(replySubject);
  const ack = await nats.request(`llm.request.${account}.chat`, JSON.stringify(request), {
    "Nats-Msg-Id": `${account}.${client}.${id}`,
    "Penstock-Client": client,
  });
  if (ack.error) throw new Error(`not accepted: ${ack.error.description}`);
  if (ack.duplicate) throw new Error(`not accepted: another sender has used the id ${id}`);
  console.error(`request ${id}`);

  let highest = -1;
  let text = "";
  for await (const event of live) {
    let arrived = [event];
    for (let reads = 0; arrived; reads += 1) {
      let gap = false;
      for (const each of arrived.sort((one, other) => one.seq - other.seq)) {
        if (each.seq <= highest) continue; // a repeated event, or one of a replaced attempt
        if (!follows(each, highest)) {
          gap = true; // events after a gap are not used: the answer would have a hole
          continue;
        }
        gap = false;
        highest = each.seq;
        if (each.type === "delta") text += each.text;
        if (each.type === "restarted") text = ""; // discard the text so far
        if (each.type === "completed" || each.type === "failed") return { ...each, text };
      }
      if (gap && reads === MAX_READS) throw new Error("part of the answer was lost");
      if (gap && reads > 0) await sleep(RETRY_MS); // the worker publishes lost events again when it reconnects
      arrived = gap ? [...(await nats.stored(replySubject)), event] : null;
    }
  }
}

/** True if no event is missing between `highest` and this one: it is the next one, or needs no earlier one. */
function follows(event, highest) {
  const first = event.attempt * 1_000_000;
  return event.seq === highest + 1 || event.seq === first || event.type === "failed" || Boolean(event.response);
}

class Nats {
  #socket;
  #buffer = Buffer.alloc(0);
  #receivers = new Map();

  static async open(url) {
    const nats = new Nats();
    const { hostname, port } = new URL(url);
    nats.#socket = connect(Number(port || 4222), hostname);
    nats.#socket.on("data", (data) => nats.#read(data));
    await new Promise((done, fail) => nats.#socket.once("connect", done).once("error", fail));
    nats.#socket.on("error", (error) => fail(error)).on("close", () => fail(new Error("NATS closed the connection")));
    nats.#socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n');
    return nats;
  }

  /** The events of one reply in the order of arrival. */
  async *#events(queue) {
    for (;;) yield JSON.parse((await queue.next()).body);
  }

  subscribe(subject) {
    return this.#events(this.#listen(subject));
  }

  /** Publish with an address for the answer, which for a stream's subject is JetStream's acknowledgement. */
  async request(subject, body, headers = {}) {
    const answers = this.#listen();
    this.#publish(subject, answers.subject, body, headers);
    const { status, body: answer } = await answers.next();
    if (status === 503) throw new Error(`no subscriber on ${subject}: is Penstock running?`);
    return JSON.parse(answer);
  }

  /** The events of one reply that LLM_REPLIES stores: pages of a direct get, each ended by a message with a status. */
  async stored(subject) {
    const events = [];
    let from = 1;
    for (let left = 1; left > 0; ) {
      const answers = this.#listen();
      const request = { next_by_subj: subject, seq: from, batch: 1000 };
      this.#publish("$JS.API.DIRECT.GET.LLM_REPLIES", answers.subject, JSON.stringify(request));
      for (;;) {
        const { status, headers, body } = await answers.next();
        if (status) {
          left = status === 204 ? Number(headers["Nats-Num-Pending"] ?? 0) : 0;
          break;
        }
        events.push(JSON.parse(body));
        from = Number(headers["Nats-Sequence"]) + 1;
      }
    }
    return events;
  }

  close() {
    this.#socket.removeAllListeners("close").end();
  }

  #listen(subject = `_INBOX.${randomUUID()}`) {
    const waiting = [];
    const arrived = [];
    const sid = String(this.#receivers.size + 1);
    this.#receivers.set(sid, (message) => (waiting.length ? waiting.shift()(message) : arrived.push(message)));
    this.#socket.write(`SUB ${subject} ${sid}\r\n`);
    return { subject, next: () => new Promise((take) => (arrived.length ? take(arrived.shift()) : waiting.push(take))) };
  }

  #publish(subject, replyTo, body, headers = {}) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = Buffer.from(`NATS/1.0\r\n${lines.join("")}\r\n`);
    const payload = Buffer.from(body);
    this.#socket.write(`HPUB ${subject} ${replyTo} ${head.length} ${head.length + payload.length}\r\n`);
    this.#socket.write(Buffer.concat([head, payload, Buffer.from("\r\n")]));
  }

  /** Assemble protocol messages from received bytes. */
  #read(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (;;) {
      const end = this.#buffer.indexOf("\r\n");
      if (end < 0) return;
      const fields = this.#buffer.toString("latin1", 0, end).split(" ");
      const size = fields[0] === "MSG" || fields[0] === "HMSG" ? Number(fields.at(-1)) + 2 : 0;
      if (this.#buffer.length < end + 2 + size) return;
      const payload = this.#buffer.subarray(end + 2, end + size);
      this.#buffer = this.#buffer.subarray(end + 2 + size);
      if (fields[0] === "PING") this.#socket.write("PONG\r\n");
      else if (fields[0] === "-ERR") fail(new Error(fields.slice(1).join(" ")));
      else if (size) this.#receivers.get(fields[2])?.(read(fields, payload));
    }
  }
}

function read(fields, payload) {
  const headBytes = fields[0] === "HMSG" ? Number(fields.at(-2)) : 0;
  const [first, ...lines] = payload.toString("utf8", 0, headBytes).split("\r\n");
  const headers = Object.fromEntries(lines.filter(Boolean).map((line) => line.split(/: ?(.*)/, 2)));
  return { status: Number(first.split(" ")[1] ?? 0), headers, body: payload.toString("utf8", headBytes) };
}

function fail(error) {
  console.error(error.message);
  process.exit(1);
}

setTimeout(() => fail(new Error("no answer in time")), PATIENCE_MS).unref();
try {
  const nats = await Nats.open(process.env.NATS_URL ?? "nats://127.0.0.1:4222");
  const end = await ask(nats, process.argv[2] ?? "Why is the sky blue?");
  nats.close();
  if (end.type === "failed") fail(new Error(`${end.error.code}: ${end.error.message}`));
  console.log(end.text);
  console.error(`${end.role} answered with ${end.model} in ${Math.round(end.timings.total_ms)} ms`);
} catch (error) {
  fail(error);
}
