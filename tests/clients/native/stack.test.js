/** The client against the local stack, whose addresses are environment variables. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConverseStream } from "converse-stream";
import { startProxy } from "./proxy.js";

const { STREAM_URL, API_URL, REST_URL, LOCAL_URL } = process.env;
const user = { "x-dev-user": `client-${crypto.randomUUID()}` };
const client = (options) => new ConverseStream({ url: STREAM_URL, apiUrl: API_URL, headers: user, ...options });

const textOf = ({ parts }) => parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
const stored = async ({ conversationId }) => (await client().get(`/conversations/${conversationId}/messages`)).messages;

for (const [entryPoint, url] of [["Function URL", STREAM_URL], ["REST API", REST_URL]]) {
  test(`${entryPoint}: a streamed answer equals the stored one`, async () => {
    const answer = client({ url }).send({ text: `Rivers ${entryPoint} [[tokens=12 pace=10]] [[cite]]` });
    const { text, message, citations, finishReason, usage } = await answer.finished;
    const pieces = [];
    for await (const { type } of answer) pieces.push(type);
    assert.ok(pieces.filter((type) => type === "chunk").length > 5);
    assert.equal(finishReason, "stop");
    assert.equal(usage.basis, "exact");
    assert.equal(citations.length, 1);
    const [question, last] = await stored(answer);
    assert.equal(textOf(last), text);
    assert.deepEqual(last, message);
    assert.match(textOf(question), /Rivers/);
    assert.ok(answer.metrics.tokensPerSecond > 0);
  });

  test(`${entryPoint}: a dropped connection is resumed with the stored text`, async (t) => {
    const proxy = await startProxy(t, url);
    const secret = crypto.randomUUID();
    const answer = client({ url: proxy.url }).send({ text: `Seas ${secret} [[tokens=2000 pace=25]]` });
    let drops = 0;
    let opened = 0;
    let seen = 0;
    for await (const event of answer) {
      if (event.state === "open") opened++;
      if (event.type !== "chunk" || seen === opened) continue; // the first chunk of each connection
      seen = opened;
      if (drops++ < 3) proxy.drop();
      else answer.stop(); // the answer is long, so that a slow machine reaches this before its end
    }
    assert.equal(drops, 4);
    const state = await answer.finished;
    assert.equal(state.finishReason, "cancelled");
    assert.equal(state.text, textOf((await stored(answer))[1]));
    const requests = await (await fetch(`${LOCAL_URL}/_local/requests`)).json();
    assert.equal(requests.filter((each) => JSON.stringify(each).includes(secret)).length, 1); // the model was called once
  });

  test(`${entryPoint}: stop cancels the answer and keeps its text`, async () => {
    const answer = client({ url }).send({ text: "Hills [[tokens=400 pace=50]]" });
    let stopping;
    for await (const event of answer) if (event.type === "chunk") stopping ??= answer.stop();
    await stopping;
    const { finishReason, text } = await answer.finished;
    assert.equal(finishReason, "cancelled");
    assert.ok(text.length > 0);
    assert.equal(textOf((await stored(answer))[1]), text);
  });
}

test("stop before the message has arrived cancels the answer", async () => {
  const answer = client().send({ text: "Woods [[tokens=400 pace=50]]" });
  await answer.stop();
  assert.equal((await answer.finished).finishReason, "cancelled");
});

test("a reloaded page resumes from its cursor or from the beginning", async () => {
  const before = client().send({ text: "Lakes [[tokens=60 pace=30]]" });
  let seen = "";
  for await (const event of before) {
    if (event.type === "chunk") seen += event.content;
    if (seen.length > 30) break; // disconnects
  }
  const { conversationId, cursor } = before;
  const [rest, all] = await Promise.all([
    client().resume(conversationId, { cursor }).finished,
    client().resume(conversationId).finished,
  ]);
  assert.equal(seen + rest.text, all.text);
  assert.equal(all.text, textOf((await stored(before))[1]));
  assert.equal(rest.position, all.position);
  const idle = [];
  for await (const event of client().resume(conversationId)) idle.push(event);
  assert.deepEqual(idle, []);
});

test("continue extends an answer and regenerate replaces it", async () => {
  const options = { maxTokens: 5 };
  const first = client().send({ text: "Moons [[tokens=8]]", options });
  const { finishReason, text } = await first.finished;
  assert.equal(finishReason, "length");
  const more = client().continue(first.conversationId, { options });
  const { text: rest, position, message } = await more.finished;
  assert.equal(textOf(message), text + rest);
  assert.equal(position, [...textOf(message)].length);
  assert.deepEqual((await stored(first)).at(-1), message);
  const whole = await client().resume(first.conversationId, { cursor: `${more.generationId}:0` }).finished;
  assert.equal(whole.text, text + rest);
  const again = client().regenerate(first.conversationId);
  const regenerated = await again.finished;
  assert.notEqual(again.generationId, more.generationId);
  assert.deepEqual((await stored(first)).at(-1), regenerated.message);
});

test("messages with a conversation id are stored in that conversation", async () => {
  const first = client().send({ text: "One [[tokens=5]]" });
  await first.finished;
  await client().send({ text: "Two [[tokens=5]]", conversationId: first.conversationId }).finished;
  assert.deepEqual((await stored(first)).map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
});

test("with the Function URL unreachable the answer arrives in one piece", async (t) => {
  const closed = await startProxy(t, STREAM_URL);
  closed.close();
  const answer = client({ url: closed.url }).send({ text: "Deserts [[tokens=20 pace=5]] [[cite]]" });
  const types = [];
  for await (const event of answer) types.push(event.state ?? event.type);
  assert.deepEqual(types.slice(0, 3), ["connecting", "buffered", "start"]);
  const { text, message, citations } = await answer.finished;
  assert.equal(text, textOf((await stored(answer))[1]));
  assert.equal(text, textOf(message));
  assert.equal(citations.length, 1);
});

test("with one URL for everything a blocked stream falls back to stream=false", async () => {
  const blocked = async (url, init) => {
    if (!url.includes("stream=false")) throw new TypeError("blocked");
    return fetch(url, init);
  };
  const answer = client({ apiUrl: STREAM_URL, fetch: blocked }).send({ text: "Plains [[tokens=5]]" });
  assert.equal((await answer.finished).text, textOf((await stored(answer))[1]));
});

test("a rejected request names its field, and a model error keeps the partial text", async () => {
  const { error } = await client().send({ text: " " }).finished;
  assert.deepEqual([error.status, error.field, error.retryable], [400, "message.text", false]);
  const text = `Caves ${crypto.randomUUID()} [[tokens=20]] [[fault=reset at=6]]`;
  const failed = await client().send({ text }).finished;
  assert.equal(failed.error.code, "model_connection_lost");
  assert.equal(failed.error.retryable, true);
  assert.ok(failed.text.length > 0);
});
