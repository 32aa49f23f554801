/** Reading a stream: chunk boundaries, unknown events, errors and metrics. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ConverseStream } from "../converse-stream.js";
import { chunk, COMPLETE, events, frame, pieces, served, START, stream } from "./server.js";

const FIXTURES = new URL("../../../tests/fixtures/", import.meta.url);
const reading = (text, ...lengths) => new ConverseStream({ url: "http://x", fetch: pieces(text, ...lengths) });

for (const name of readdirSync(FIXTURES).filter((each) => existsSync(new URL(`${each}/events.json`, FIXTURES)))) {
  test(`fixture ${name}: the same answer for all chunk boundaries`, async () => {
    const text = readFileSync(new URL(`${name}/native.sse`, FIXTURES), "utf8");
    const expected = JSON.parse(readFileSync(new URL(`${name}/answer.json`, FIXTURES), "utf8"));
    for (const lengths of [[1e6], [1], [2, 3, 5, 7, 11]]) {
      const { error, ...state } = await reading(text, ...lengths).send({ text: "x" }).finished;
      const actual = error ? { ...state, error: error.code } : state;
      for (const [field, value] of Object.entries(expected)) assert.deepEqual(actual[field], value, field);
    }
  });
}

test("characters stay whole for all chunk boundaries", async () => {
  const content = "é€🌊\u2028\u0085𝄞";
  const text = frame(START) + chunk(content, 6) + frame(COMPLETE);
  for (let cut = 1; cut < new TextEncoder().encode(text).length; cut++) {
    assert.equal((await reading(text, cut).send({ text: "x" }).finished).text, content);
  }
});

test("a megabyte in random chunks is received without a change", async (t) => {
  const letters = ["a", " ", "\n", "\r", '"', "\\", "é", "河", "🌊", "\u2028", ":", "data: "];
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const content = () => Array.from({ length: 1 + random(250) }, () => letters[random(letters.length)]).join("");
  const contents = Array.from({ length: 4000 }, content);
  let position = 0;
  const frames = contents.map((content) => chunk(content, (position += [...content].length)));
  const bytes = Buffer.from(frame(START) + frames.join("") + frame(COMPLETE));
  const whole = contents.join("");
  assert.ok(Buffer.byteLength(whole) > 1_000_000);
  const inPieces = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let at = 0; at < bytes.length; ) response.write(bytes.subarray(at, (at += 1 + random(3000))));
    response.end();
  };
  const { client } = await served(t, [inPieces]);
  const answer = client.send({ text: "x" });
  const state = await answer.finished;
  assert.equal(state.text, whole);
  assert.equal(state.position, position);
  assert.equal(answer.cursor, `generation:${position}`);
});

test("unknown events and fields are passed on", async (t) => {
  const weather = { type: "weather", wind: { knots: 3 } };
  const start = { ...START, region: "eu" };
  const { client } = await served(t, [stream(": hb\n", frame(start), frame(weather), chunk("a", 1), frame(COMPLETE))]);
  const answer = client.send({ text: "x" });
  assert.deepEqual(await events(answer), [start, weather, { type: "chunk", content: "a" }, COMPLETE]);
  assert.equal((await answer.finished).text, "a");
});

test("an error event ends the answer and keeps its text", async (t) => {
  const failure = { code: "model_timeout", message: "Silence.", retryable: true };
  const error = { type: "error", ...failure, requestId: "r", messageId: "m" };
  const { client, requests } = await served(t, [stream(frame(START), chunk("Half", 4), frame(error))]);
  const answer = client.send({ text: "x" });
  assert.deepEqual((await events(answer)).at(-1), error);
  const state = await answer.finished;
  assert.equal(state.text, "Half");
  assert.equal(state.error.code, "model_timeout");
  assert.equal(state.error.retryable, true);
  assert.equal(requests.length, 1);
});

test("times are measured for a send, and not for a resume", async (t) => {
  const { client } = await served(t, [
    (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(frame(START) + chunk("a", 1));
      setTimeout(() => response.end(frame(COMPLETE)), 30);
    },
    stream(frame(START), chunk("a", 1), frame(COMPLETE)),
  ]);
  const answer = client.send({ text: "x" });
  await answer.finished;
  const { firstTokenMs, durationMs, tokensPerSecond } = answer.metrics;
  assert.ok(firstTokenMs < durationMs);
  assert.equal(tokensPerSecond, Math.round((10_000 * COMPLETE.usage.outputTokens) / (durationMs - firstTokenMs)) / 10);
  const resumed = client.resume("conversation");
  await resumed.finished;
  assert.deepEqual(resumed.metrics, {});
});
