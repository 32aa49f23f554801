/** The client against the laptop stack, whose addresses are in the environment. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConverseStream } from "converse-stream";
import { line } from "./proxy.js";

const { STREAM_URL, API_URL, REST_URL, LOCAL_URL } = process.env;
const user = { "x-dev-user": `client-${crypto.randomUUID()}` };
const client = (options) => new ConverseStream({ url: STREAM_URL, apiUrl: API_URL, headers: user, ...options });

const textOf = ({ parts }) => parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
const stored = async ({ conversationId }) => (await client().get(`/conversations/${conversationId}/messages`)).messages;

for (const [door, url] of [["Function URL", STREAM_URL], ["REST API", REST_URL]]) {
  test(`${door}: an answer comes piece by piece, and is what is stored`, async () => {
    const answer = client({ url }).send({ text: `Rivers ${door} [[tokens=12 pace=10]] [[cite]]` });
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

  test(`${door}: a dropped line is resumed, with the text that is stored`, async (t) => {
    const lossy = await line(t, url);
    const secret = crypto.randomUUID();
    const answer = client({ url: lossy.url }).send({ text: `Seas ${secret} [[tokens=2000 pace=25]]` });
    let drops = 0;
    let opened = 0;
    let seen = 0;
    for await (const event of answer) {
      if (event.state === "open") opened++;
      if (event.type !== "chunk" || seen === opened) continue; // the first piece on each line
      seen = opened;
      if (drops++ < 3) lossy.drop();
      else answer.stop(); // it is long, so that a slow machine does not miss the line's end
    }
    assert.equal(drops, 4);
    const state = await answer.finished;
    assert.equal(state.finishReason, "cancelled");
    assert.equal(state.text, textOf((await stored(answer))[1]));
    const requests = await (await fetch(`${LOCAL_URL}/_local/requests`)).json();
    assert.equal(requests.filter((each) => JSON.stringify(each).includes(secret)).length, 1); // paid once
  });

  test(`${door}: stop stops the model, and keeps what it said`, async () => {
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

test("a stop that overtakes its message stops it all the same", async () => {
  const answer = client().send({ text: "Woods [[tokens=400 pace=50]]" });
  await answer.stop();
  assert.equal((await answer.finished).finishReason, "cancelled");
});

test("a page that is loaded again goes on from its cursor, or from the begin", async () => {
  const before = client().send({ text: "Lakes [[tokens=60 pace=30]]" });
  let seen = "";
  for await (const event of before) {
    if (event.type === "chunk") seen += event.content;
    if (seen.length > 30) break; // leaves
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

test("an answer is gone on with, and made again", async () => {
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
  const made = await again.finished;
  assert.notEqual(again.generationId, more.generationId);
  assert.deepEqual((await stored(first)).at(-1), made.message);
});

test("several turns stay in one conversation", async () => {
  const first = client().send({ text: "One [[tokens=5]]" });
  await first.finished;
  await client().send({ text: "Two [[tokens=5]]", conversationId: first.conversationId }).finished;
  assert.deepEqual((await stored(first)).map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
});

test("with the Function URL's port closed the answer comes in one piece", async (t) => {
  const closed = await line(t, STREAM_URL);
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

test("one host for everything: its buffered path is the streaming function's", async () => {
  const blocked = async (url, init) => {
    if (!url.includes("stream=false")) throw new TypeError("blocked");
    return fetch(url, init);
  };
  const answer = client({ apiUrl: STREAM_URL, fetch: blocked }).send({ text: "Plains [[tokens=5]]" });
  assert.equal((await answer.finished).text, textOf((await stored(answer))[1]));
});

test("a refusal names its field, and an error of the model ends with what was said", async () => {
  const { error } = await client().send({ text: " " }).finished;
  assert.deepEqual([error.status, error.field, error.retryable], [400, "message.text", false]);
  const text = `Caves ${crypto.randomUUID()} [[tokens=20]] [[fault=reset at=6]]`;
  const failed = await client().send({ text }).finished;
  assert.equal(failed.error.code, "model_connection_lost");
  assert.equal(failed.error.retryable, true);
  assert.ok(failed.text.length > 0);
});
