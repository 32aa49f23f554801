/** After disconnects, stalls and failed connections, a message is sent once, and its answer is read without loss. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ConverseStream } from "../converse-stream.js";
import { chunk, COMPLETE, events, frame, json, open, pieces, RECORDED, reply, reset, served, START, stream } from "./server.js";

const RESUME = "GET stream /chat/conversation/stream";
const cutAfter = (...frames) => (response) => {
  open(...frames)(response);
  setTimeout(reset, 20, response);
};

test("after a disconnect the stream resumes after the last event, and nothing is sent again", async (t) => {
  const { client, requests, received } = await served(t, [
    cutAfter(frame(START), chunk("A🌊", 2)),
    cutAfter(frame(START), chunk("b", 3), 'id: generation:9\ndata: {"type":"chunk","con'),
    stream(frame(START), chunk("c", 4), frame(COMPLETE)),
  ]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  const seen = await events(answer);
  assert.deepEqual(seen.map((event) => event.type), ["start", "chunk", "chunk", "chunk", "complete"]);
  assert.equal((await answer.finished).text, "A🌊bc");
  assert.deepEqual(received(), ["POST stream /chat", RESUME, RESUME]);
  assert.deepEqual(requests.slice(1).map(({ headers }) => headers["last-event-id"]), ["generation:2", "generation:3"]);
  assert.equal(new Set(requests.map(({ headers }) => headers["x-client-id"])).size, 1);
});

test("an end without a terminal event is resumed, also after `start` alone", async (t) => {
  const { client, requests, received } = await served(t, [
    stream(frame(START)),
    stream(frame(START), chunk("a", 1), frame(COMPLETE)),
  ]);
  const state = await client.send({ text: "x", conversationId: "conversation" }).finished;
  assert.equal(state.text, "a");
  assert.deepEqual(received(), ["POST stream /chat", RESUME]);
  assert.equal(requests[1].headers["last-event-id"], "generation:0");
});

test("text that the server has not stored is rolled back", async (t) => {
  const rollback = frame({ type: "rollback", position: 3 });
  const lost = stream(frame(START), rollback, frame({ ...COMPLETE, finishReason: "lost" }));
  const { client } = await served(t, [cutAfter(frame(START), chunk("kept?no", 7)), lost]);
  const state = await client.send({ text: "x" }).finished;
  assert.equal(state.text, "kep");
  assert.equal(state.finishReason, "lost");
});

test("refusals during a resume are retried, without a fallback to one piece", async (t) => {
  const { client, received } = await served(t, [
    cutAfter(frame(START), chunk("a", 1)),
    json(502),
    reply("storage"),
    json(429, { Reason: "ConcurrentInvocationLimitExceeded" }),
    reset,
    stream(frame(START), chunk("b", 2), frame(COMPLETE)),
  ]);
  assert.equal((await client.send({ text: "x", conversationId: "conversation" }).finished).text, "ab");
  assert.deepEqual(received(), ["POST stream /chat", RESUME, RESUME, RESUME, RESUME, RESUME]);
});

/** A client whose first stream stays open, as `say` feeds it; the second one ends the answer. */
function hanging() {
  const received = [];
  const given = { up: 0 };
  let line;
  const fetch = async (url, init) => {
    received.push(`${init.method} ${url}`);
    if (received.length > 1) return pieces(chunk("b", 2) + frame(COMPLETE), 50)();
    const start = (controller) => {
      line = controller;
      init.signal.addEventListener("abort", () => {
        given.up++;
        controller.error(init.signal.reason);
      });
    };
    return new Response(new ReadableStream({ start }), { headers: { "content-type": "text/event-stream" } });
  };
  const answer = new ConverseStream({ url: "http://x", fetch }).send({ text: "x", conversationId: "conversation" });
  const say = async (text) => {
    while (!line) await settled();
    line.enqueue(new TextEncoder().encode(text));
    await settled();
  };
  return { answer, received, given, say };
}
const settled = () => new Promise(setImmediate);
const RESUMED = ["POST http://x/chat", "GET http://x/chat/conversation/stream"];

test("after 25 s without a byte the stream is resumed", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.after(() => mock.timers.reset());
  t.mock.method(Math, "random", () => 0);
  const { answer, received, given, say } = hanging();
  await say(frame(START) + chunk("a", 1));
  mock.timers.tick(24_999);
  await say(": hb\n");
  mock.timers.tick(24_999);
  assert.equal(given.up, 0);
  mock.timers.tick(1);
  assert.equal(given.up, 1);
  while (received.length === 1) {
    await settled();
    mock.timers.tick(1); // the back-off of no length
  }
  assert.equal((await answer.finished).text, "ab");
  assert.deepEqual(received, RESUMED);
});

test("a suspended tab checks the time when it wakes", async (t) => {
  const page = woken(t);
  mock.timers.enable({ apis: ["Date"] });
  t.after(() => mock.timers.reset());
  const { answer, received, say } = hanging();
  await say(frame(START) + chunk("a", 1));
  page.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.equal(received.length, 1);
  mock.timers.tick(25_001);
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal((await answer.finished).text, "ab");
  assert.deepEqual(received, RESUMED);
});

/** A page that can be told of `online` and the like. */
function woken(t) {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  return page;
}

test("the back-off ends when the network is back", async (t) => {
  const page = woken(t);
  t.mock.method(Math, "random", () => 1e6); // a back-off of days
  const { client } = await served(t, [cutAfter(frame(START)), stream(frame(START), frame(COMPLETE))]);
  const answer = client.send({ text: "x" });
  for await (const { state } of answer) {
    if (state === "waiting") setImmediate(() => page.dispatchEvent(new Event("online")));
  }
  assert.equal((await answer.finished).finishReason, "stop");
});

test("back-off grows to 8 s with full jitter, and attempts are limited", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  t.mock.method(Math, "random", () => 0.5);
  const fetch = async () => {
    throw new TypeError("offline");
  };
  const pauses = [];
  const answer = new ConverseStream({ url: "http://x", fetch }).resume("conversation", { cursor: "generation:3" });
  await assert.rejects(
    async () => {
      for await (const { state, retryInMs } of answer) {
        if (state !== "waiting") continue;
        pauses.push(retryInMs);
        setImmediate(() => mock.timers.tick(retryInMs));
      }
    },
    { name: "ConverseError", code: "unreachable", status: 0, retryable: true },
  );
  assert.deepEqual(pauses.slice(0, 7), [125, 250, 500, 1000, 2000, 4000, 4000]);
  assert.equal(pauses.length, 40);
});

test("each new event resets the back-off", async (t) => {
  t.mock.method(Math, "random", () => 0.1);
  const { client } = await served(t, [
    stream(frame(START), chunk("a", 1)),
    stream(frame(START), chunk("b", 2)),
    reset,
    stream(frame(START), chunk("c", 3), frame(COMPLETE)),
  ]);
  const pauses = [];
  for await (const { retryInMs } of client.send({ text: "x" })) if (retryInMs !== undefined) pauses.push(retryInMs);
  assert.deepEqual(pauses, [25, 25, 50]);
});

test("a resume without a cursor ends after a few attempts", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { client, received } = await served(t, Array(9).fill(reset));
  await assert.rejects(events(client.resume("conversation")), { code: "unreachable" });
  assert.deepEqual(received(), Array(5).fill(RESUME));
});

test("nothing to resume yields nothing", async (t) => {
  const { client, received } = await served(t, [reply("nothing is made")]);
  for await (const event of client.resume("conversation")) assert.fail(event.type);
  assert.deepEqual(received(), [RESUME]);
});

test("an expired log is replaced by the stored answer", async (t) => {
  const begin = [...RECORDED.answer.body.matchAll(/(?:id: .*\n)?data: .*\n\n/g)].slice(0, 3).map(([each]) => each);
  const { client, received } = await served(t, [
    cutAfter(...begin),
    reply("log gone"),
    reply("newest message"),
    reply("message before"),
  ]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  const end = (await events(answer)).at(-1);
  assert.deepEqual([end.type, end.aiMessage.id, end.userMessage.id], ["complete", "message", "question"]);
  const { text, finishReason } = await answer.finished;
  assert.deepEqual([text, finishReason], [COMPLETE.aiMessage.parts[0].text, "stop"]);
  const page = "GET api /conversations/conversation/messages";
  assert.deepEqual(received().slice(1), [RESUME, page, `${page}?cursor=older`]);
});

test("a stored answer yields reasoning and citations", async (t) => {
  const parts = [{ type: "reasoning", text: "Hm" }, ...COMPLETE.aiMessage.parts, { type: "citation", title: "Atlas" }];
  const messages = [COMPLETE.userMessage, { ...COMPLETE.aiMessage, parts, finishReason: "length" }];
  const { client } = await served(t, [reply("log gone"), json(200, { messages })]);
  const state = await client.resume("conversation", { cursor: "generation:3" }).finished;
  assert.deepEqual([state.reasoning, state.finishReason], ["Hm", "length"]);
  assert.deepEqual(state.citations, [{ title: "Atlas" }]);
});

test("a stored failed answer ends with an error; a deleted one is not_found", async (t) => {
  const { client } = await served(t, [
    reply("log gone"),
    reply("failed message"),
    reply("log gone"),
    reply("messages"),
  ]);
  const failed = client.resume("conversation", { cursor: "generation:3" });
  assert.equal((await events(failed)).at(-1).type, "error");
  const { error } = JSON.parse(RECORDED["failed message"].body).messages.at(-1);
  assert.deepEqual((await failed.finished).error, { ...error, messageId: "message" });
  const gone = client.resume("conversation", { cursor: "another:3" });
  await assert.rejects(events(gone), { code: "not_found", status: 404 });
});

test("a stored failed answer without an error is retryable", async (t) => {
  const { error: _, ...message } = JSON.parse(RECORDED["failed message"].body).messages.at(-1);
  const { client } = await served(t, [reply("log gone"), json(200, { messages: [COMPLETE.userMessage, message] })]);
  const state = await client.resume("conversation", { cursor: "generation:3" }).finished;
  assert.deepEqual([state.error.code, state.error.retryable], ["failed", true]);
});

test("an answer that has ended meanwhile is read to its end", async (t) => {
  const begin = RECORDED.answer.body.slice(0, RECORDED.answer.body.indexOf("\n\nid: generation:8") + 2);
  const { client, requests } = await served(t, [cutAfter(begin), reply("rest")]);
  const state = await client.send({ text: "x", conversationId: "conversation" }).finished;
  assert.equal(state.text, COMPLETE.aiMessage.parts[0].text);
  assert.equal(requests[1].headers["last-event-id"], "generation:5");
});

test("a message is sent also if the answer is left before `start`", async () => {
  const received = [];
  let arrive;
  const fetch = (url, { method, signal }) => {
    received.push(`${method} ${url}`);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      arrive = () => resolve(pieces(frame(START) + chunk("a", 1), 1e6)());
    });
  };
  const answer = new ConverseStream({ url: "http://x", fetch }).send({ text: "x" });
  await settled();
  answer.leave();
  await events(answer); // nothing is waited for
  arrive();
  assert.equal((await answer.finished).generationId, "generation");
  assert.deepEqual(received, ["POST http://x/chat"]);
});

test("leave ends only the reading, and a second resume ends the first", async (t) => {
  const running = open(frame(START));
  const { client, received } = await served(t, [running, running, stream(frame(START), frame(COMPLETE))]);
  const first = client.send({ text: "x", conversationId: "conversation" });
  for await (const event of first) if (event.type === "start") break;
  assert.equal((await first.finished).finishReason, undefined);
  const second = client.resume("conversation");
  for await (const event of second) {
    if (event.type === "start") assert.equal((await client.resume("conversation").finished).finishReason, "stop");
  }
  assert.deepEqual(received(), ["POST stream /chat", RESUME, RESUME]);
});
