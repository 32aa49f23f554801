/** When the line drops, hangs, or finds nobody, a send is said once, and its answer is read without loss or repeat. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ConverseStream } from "../converse-stream.js";
import { chunk, COMPLETE, events, frame, json, open, pieces, RECORDED, reply, reset, served, START, stream } from "./server.js";

const RESUME = "GET stream /chat/conversation/stream";
const cutAfter = (...frames) => (response) => {
  open(...frames)(response);
  setTimeout(reset, 20, response);
};

test("a dropped line is taken up behind the last event, and nothing is sent again", async (t) => {
  const { client, requests, asked } = await served(t, [
    cutAfter(frame(START), chunk("A🌊", 2)),
    cutAfter(frame(START), chunk("b", 3), 'id: generation:9\ndata: {"type":"chunk","con'),
    stream(frame(START), chunk("c", 4), frame(COMPLETE)),
  ]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  const seen = await events(answer);
  assert.deepEqual(seen.map((event) => event.type), ["start", "chunk", "chunk", "chunk", "complete"]);
  assert.equal((await answer.finished).text, "A🌊bc");
  assert.deepEqual(asked(), ["POST stream /chat", RESUME, RESUME]);
  assert.deepEqual(requests.slice(1).map(({ headers }) => headers["last-event-id"]), ["generation:2", "generation:3"]);
  assert.equal(new Set(requests.map(({ headers }) => headers["x-client-id"])).size, 1);
});

test("an end without a terminal event is no success; `start` alone is enough to go on from", async (t) => {
  const { client, requests, asked } = await served(t, [
    stream(frame(START)),
    stream(frame(START), chunk("a", 1), frame(COMPLETE)),
  ]);
  const state = await client.send({ text: "x", conversationId: "conversation" }).finished;
  assert.equal(state.text, "a");
  assert.deepEqual(asked(), ["POST stream /chat", RESUME]);
  assert.equal(requests[1].headers["last-event-id"], "generation:0");
});

test("what the server had not stored is cut back", async (t) => {
  const rollback = frame({ type: "rollback", position: 3 });
  const lost = stream(frame(START), rollback, frame({ ...COMPLETE, finishReason: "lost" }));
  const { client } = await served(t, [cutAfter(frame(START), chunk("kept?no", 7)), lost]);
  const state = await client.send({ text: "x" }).finished;
  assert.equal(state.text, "kep");
  assert.equal(state.finishReason, "lost");
});

test("refusals while it is resumed are waited out, and never answered in one piece", async (t) => {
  const { client, asked } = await served(t, [
    cutAfter(frame(START), chunk("a", 1)),
    json(502),
    reply("storage"),
    json(429, { Reason: "ConcurrentInvocationLimitExceeded" }),
    reset,
    stream(frame(START), chunk("b", 2), frame(COMPLETE)),
  ]);
  assert.equal((await client.send({ text: "x", conversationId: "conversation" }).finished).text, "ab");
  assert.deepEqual(asked(), ["POST stream /chat", RESUME, RESUME, RESUME, RESUME, RESUME]);
});

/** A client whose first stream stays open, as `say` feeds it; the second one ends the answer. */
function hanging() {
  const asked = [];
  const given = { up: 0 };
  let line;
  const fetch = async (url, init) => {
    asked.push(`${init.method} ${url}`);
    if (asked.length > 1) return pieces(chunk("b", 2) + frame(COMPLETE), 50)();
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
  return { answer, asked, given, say };
}
const settled = () => new Promise(setImmediate);
const RESUMED = ["POST http://x/chat", "GET http://x/chat/conversation/stream"];

test("25 s without a byte, not even a heartbeat, are a line that hangs: it is taken up again", async (t) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.after(() => mock.timers.reset());
  t.mock.method(Math, "random", () => 0);
  const { answer, asked, given, say } = hanging();
  await say(frame(START) + chunk("a", 1));
  mock.timers.tick(24_999);
  await say(": hb\n");
  mock.timers.tick(24_999);
  assert.equal(given.up, 0);
  mock.timers.tick(1);
  assert.equal(given.up, 1);
  while (asked.length === 1) {
    await settled();
    mock.timers.tick(1); // the back-off of no length
  }
  assert.equal((await answer.finished).text, "ab");
  assert.deepEqual(asked, RESUMED);
});

test("a tab that slept through its timers looks at the time when it wakes", async (t) => {
  const page = woken(t);
  mock.timers.enable({ apis: ["Date"] });
  t.after(() => mock.timers.reset());
  const { answer, asked, say } = hanging();
  await say(frame(START) + chunk("a", 1));
  page.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.equal(asked.length, 1);
  mock.timers.tick(25_001);
  page.dispatchEvent(new Event("visibilitychange"));
  assert.equal((await answer.finished).text, "ab");
  assert.deepEqual(asked, RESUMED);
});

/** A page that can be told of `online` and the like. */
function woken(t) {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  return page;
}

test("a network that is back is used at once", async (t) => {
  const page = woken(t);
  t.mock.method(Math, "random", () => 1e6); // a back-off of days
  const { client } = await served(t, [cutAfter(frame(START)), stream(frame(START), frame(COMPLETE))]);
  const answer = client.send({ text: "x" });
  for await (const { state } of answer) {
    if (state === "waiting") setImmediate(() => page.dispatchEvent(new Event("online")));
  }
  assert.equal((await answer.finished).finishReason, "stop");
});

test("back-off grows to 8 s with full jitter, and ends", async (t) => {
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

test("every piece that comes begins the back-off anew", async (t) => {
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

test("what may not even be there is given up after a few attempts", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { client, asked } = await served(t, Array(9).fill(reset));
  await assert.rejects(events(client.resume("conversation")), { code: "unreachable" });
  assert.deepEqual(asked(), Array(5).fill(RESUME));
});

test("nothing to resume yields nothing", async (t) => {
  const { client, asked } = await served(t, [reply("nothing is made")]);
  for await (const event of client.resume("conversation")) assert.fail(event.type);
  assert.deepEqual(asked(), [RESUME]);
});

test("a log that is gone gives way to what is stored", async (t) => {
  const begin = [...RECORDED.answer.body.matchAll(/(?:id: .*\n)?data: .*\n\n/g)].slice(0, 3).map(([each]) => each);
  const { client, asked } = await served(t, [
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
  assert.deepEqual(asked().slice(1), [RESUME, page, `${page}?cursor=older`]);
});

test("reasoning and citations of a stored answer are shown too", async (t) => {
  const parts = [{ type: "reasoning", text: "Hm" }, ...COMPLETE.aiMessage.parts, { type: "citation", title: "Atlas" }];
  const messages = [COMPLETE.userMessage, { ...COMPLETE.aiMessage, parts, finishReason: "length" }];
  const { client } = await served(t, [reply("log gone"), json(200, { messages })]);
  const state = await client.resume("conversation", { cursor: "generation:3" }).finished;
  assert.deepEqual([state.reasoning, state.finishReason], ["Hm", "length"]);
  assert.deepEqual(state.citations, [{ title: "Atlas" }]);
});

test("a stored answer that failed ends as an error; one that is gone is told", async (t) => {
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

test("a stored answer that failed before reasons were stored may be tried again", async (t) => {
  const { error: _, ...message } = JSON.parse(RECORDED["failed message"].body).messages.at(-1);
  const { client } = await served(t, [reply("log gone"), json(200, { messages: [COMPLETE.userMessage, message] })]);
  const state = await client.resume("conversation", { cursor: "generation:3" }).finished;
  assert.deepEqual([state.error.code, state.error.retryable], ["failed", true]);
});

test("an answer that ended meanwhile is read to its end", async (t) => {
  const begin = RECORDED.answer.body.slice(0, RECORDED.answer.body.indexOf("\n\nid: generation:8") + 2);
  const { client, requests } = await served(t, [cutAfter(begin), reply("rest")]);
  const state = await client.send({ text: "x", conversationId: "conversation" }).finished;
  assert.equal(state.text, COMPLETE.aiMessage.parts[0].text);
  assert.equal(requests[1].headers["last-event-id"], "generation:5");
});

test("a message that is left on its way arrives all the same", async () => {
  const asked = [];
  let arrive;
  const fetch = (url, { method, signal }) => {
    asked.push(`${method} ${url}`);
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
  assert.deepEqual(asked, ["POST http://x/chat"]);
});

test("leaving ends here and not there, and a second reader of a conversation ends the first", async (t) => {
  const speaking = open(frame(START));
  const { client, asked } = await served(t, [speaking, speaking, stream(frame(START), frame(COMPLETE))]);
  const first = client.send({ text: "x", conversationId: "conversation" });
  for await (const event of first) if (event.type === "start") break;
  assert.equal((await first.finished).finishReason, undefined);
  const second = client.resume("conversation");
  for await (const event of second) {
    if (event.type === "start") assert.equal((await client.resume("conversation").finished).finishReason, "stop");
  }
  assert.deepEqual(asked(), ["POST stream /chat", RESUME, RESUME]);
});
