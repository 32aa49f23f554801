/** If streaming cannot start, the same send is answered in one piece by the HTTP API. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fold } from "../converse-stream.js";
import { chunk, COMPLETE, events, frame, json, RECORDED, reply, reset, served, START, stream } from "./server.js";

const STREAM = "POST stream /chat";
const PIECE = "POST api /chat?stream=false";
const inOnePiece = JSON.parse(RECORDED["in one piece"].body);
const parts = [
  { type: "reasoning", text: "Hm" },
  { type: "text", text: "All" },
  { type: "citation", title: "Atlas" },
];
const withParts = (parts) => json(200, { ...inOnePiece, aiMessage: { ...inOnePiece.aiMessage, parts } });
const whole = withParts(parts);

const REASONS = {
  "the connection is refused": reset,
  "the function has no place left": json(429, { Reason: "ConcurrentInvocationLimitExceeded" }),
  "it is forbidden": json(403, { Message: "Forbidden" }),
  "there is no such route": json(404, { message: "Not Found" }),
  "the function fails": json(502, { Message: "Internal Server Error" }),
  "something else answers": json(200, { hello: "world" }),
  "the stream ends before its first event": stream(": hb\n"),
};
for (const [reason, refusal] of Object.entries(REASONS)) {
  test(`in one piece because ${reason}`, async (t) => {
    const { client, requests, received } = await served(t, [refusal, whole]);
    const answer = client.send({ text: "x", options: { maxTokens: 5 } });
    const seen = [];
    const states = [];
    for await (const event of answer) (event.type === "connection" ? states : seen).push(event);
    assert.deepEqual(seen.map((event) => event.type), ["start", "reasoning", "chunk", "citation", "complete"]);
    assert.ok(states.some(({ state }) => state === "buffered"));
    assert.deepEqual(received(), [STREAM, PIECE]);
    assert.equal(requests[0].text, requests[1].text);
    assert.equal(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
    const state = await answer.finished;
    assert.deepEqual([state.text, state.reasoning, state.generationId], ["All", "Hm", answer.generationId]);
    assert.equal(answer.metrics.tokensPerSecond, undefined);
  });
}

test("while the generation runs, the request is repeated after Retry-After", async (t) => {
  const running = reply("running", { "retry-after": "1" }); // as from API Gateway
  const { client, requests, received } = await served(t, [reset, running, whole]);
  const waits = [];
  const answer = client.send({ text: "x" });
  for await (const { retryInMs } of answer) if (retryInMs !== undefined) waits.push(retryInMs);
  assert.deepEqual(waits, [1000]);
  assert.deepEqual(received(), [STREAM, PIECE, PIECE]);
  assert.equal(new Set(requests.map(({ headers, text }) => headers["idempotency-key"] + text)).size, 1);
  assert.equal((await answer.finished).text, "All");
});

test("stream and buffered requests alternate until the server has the message", async (t) => {
  const answered = stream(frame(START), chunk("a", 1), frame(COMPLETE));
  const { client, requests, received } = await served(t, [reset, reset, reset, json(504), answered]);
  assert.equal((await client.send({ text: "x" }).finished).text, "a");
  assert.deepEqual(received(), [STREAM, PIECE, STREAM, PIECE, STREAM]);
  assert.equal(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size, 1);
});

test("a buffered answer that failed ends with its error", async (t) => {
  const { error } = JSON.parse(RECORDED["failed in one piece"].body);
  const { client } = await served(t, [reset, reply("failed in one piece")]);
  const answer = client.send({ text: "x" });
  assert.deepEqual(await events(answer), [{ type: "error", ...error }]);
  assert.equal((await answer.finished).error.code, error.code);
});

test("continue yields the rest, or a rollback to 0 and the whole answer", async (t) => {
  const before = { type: "chunk", content: "Once" };
  const rest = stream(frame(START), chunk(" upon", 9), frame(COMPLETE));
  const all = stream(frame(START), chunk("Once upon", 9), frame(COMPLETE));
  const piece = withParts([{ type: "text", text: "Once upon" }]);
  for (const answers of [[rest], [stream(frame(START)), all], [reset, piece]]) {
    const { client } = await served(t, answers);
    let state = fold(undefined, before);
    for (const event of await events(client.continue("conversation"))) state = fold(state, event);
    assert.equal(state.text, "Once upon");
  }
});

test("no fallback after the first event, also if its type is unknown", async (t) => {
  const unknown = stream(frame({ type: "weather" }));
  const { client, received } = await served(t, [unknown, stream(frame(START), frame(COMPLETE))]);
  await client.send({ text: "x" }).finished;
  assert.deepEqual(received(), [STREAM, STREAM]);
});

test("a browser without streaming sends a buffered request first", async (t) => {
  const { client, received } = await served(t, [whole]);
  const body = Object.getOwnPropertyDescriptor(Response.prototype, "body");
  t.after(() => Object.defineProperty(Response.prototype, "body", body));
  delete Response.prototype.body;
  assert.equal((await client.send({ text: "x" }).finished).text, "All");
  assert.deepEqual(received(), [PIECE]);
});

test("a busy server gets the same request again after Retry-After", async (t) => {
  const { client, requests, received } = await served(t, [
    reply("too many", { "retry-after": "1" }),
    reply("paused", { "retry-after": "0" }),
    stream(frame(START), chunk("a", 1), frame(COMPLETE)),
  ]);
  const waits = [];
  const answer = client.send({ text: "x" });
  for await (const { retryInMs } of answer) if (retryInMs !== undefined) waits.push(retryInMs);
  assert.deepEqual(waits, [1000, 0]);
  assert.deepEqual(received(), [STREAM, STREAM, STREAM]);
  assert.equal(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size, 1);
});

test("a Retry-After of more than 30 s is an error for the user", async (t) => {
  const { client, received } = await served(t, [reply("too many", { "retry-after": "3600" })]);
  const expected = { code: "too_many_generations", status: 429, retryAfterMs: 3_600_000 };
  await assert.rejects(events(client.send({ text: "x" })), expected);
  assert.deepEqual(received(), [STREAM]);
});

for (const name of ["bad request", "busy", "too large", "unsupported media type", "key reused"]) {
  test(`${name} is told at once`, async (t) => {
    const { status, body } = RECORDED[name];
    const { generationId: _, ...error } = JSON.parse(body).error;
    const { client, received } = await served(t, [reply(name)]);
    const answer = client.send({ text: "x" });
    await assert.rejects(events(answer), { name: "ConverseError", status, ...error });
    assert.equal((await answer.finished).error.code, error.code);
    assert.deepEqual(received(), [STREAM]);
  });
}
