/** Requests: bodies, headers, tokens, signatures, and cancellation. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { ConverseError, ConverseStream, features } from "../converse-stream.js";
import { chunk, COMPLETE, events, frame, json, open, pieces, reply, reset, served, START, stream } from "./server.js";

const answered = () => stream(frame(START), frame(COMPLETE));
const CANCEL = "/chat/conversation/cancel";

test("each send has its own key and conversation id", async (t) => {
  const { client, requests } = await served(t, [answered(), answered()]);
  const [one, two] = [client.send({ text: "x" }), client.send({ text: "x" })];
  await Promise.all([one.finished, two.finished]);
  const bodies = requests.map(({ body }) => body.conversationId);
  assert.deepEqual(new Set(bodies), new Set([one.conversationId, two.conversationId]));
  assert.match(one.conversationId, /^[A-Za-z0-9_-]{8,64}$/);
  assert.equal(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size, 2);
});

test("send, regenerate and continue send only the defined fields", async (t) => {
  process.env.TZ = "Asia/Kathmandu";
  t.after(() => delete process.env.TZ);
  const { client, requests } = await served(t, [answered(), answered(), answered()]);
  const request = { text: "Hi", conversationId: "conversation", model: "m", options: { topP: 1 } };
  await client.send({ ...request, stopOnLeave: true }).finished;
  await client.regenerate("conversation", { model: "m", utcOffset: "-03:30" }).finished;
  process.env.TZ = "Etc/GMT-3"; // its name has another offset
  await client.continue("conversation").finished;
  assert.deepEqual(requests.map(({ body }) => body), [
    { conversationId: "conversation", message: { text: "Hi" }, model: "m", options: { topP: 1 }, utcOffset: "+05:45" },
    { action: "regenerate", conversationId: "conversation", model: "m", utcOffset: "-03:30" },
    { action: "continue", conversationId: "conversation", utcOffset: "+03:00" },
  ]);
});

test("a Bedrock key is sent with its own message only, also when it is sent again", async (t) => {
  const { client, requests, received } = await served(t, [reset, reply("in one piece"), answered(), answered()]);
  const conversationId = "conversation";
  await client.send({ text: "x", conversationId, bedrockKey: "key" }).finished;
  await client.regenerate(conversationId, { bedrockKey: "other" }).finished;
  await client.continue(conversationId).finished;
  assert.deepEqual(received().slice(0, 2), ["POST stream /chat", "POST api /chat?stream=false"]);
  assert.deepEqual(requests.map(({ headers }) => headers["x-bedrock-api-key"]), ["key", "key", "other", undefined]);
  assert.ok(!requests.some(({ text }) => text.includes("ey")), "the key is not in a body");
});

test("`models` returns the list of the server", async (t) => {
  const list = { default: "nova-lite", models: [{ id: "nova-lite", reasoning: null }] };
  const { client, received } = await served(t, [json(200, list)]);
  assert.deepEqual(await client.models(), list);
  assert.deepEqual(received(), ["GET api /models"]);
});

test("after a 401 the token is requested once more", async (t) => {
  const tokens = ["old", "new", "newer", "newest"];
  const { client, requests } = await served(
    t,
    [reply("unauthenticated"), answered(), reply("unauthenticated"), reply("unauthenticated")],
    { token: async () => tokens.shift(), tokenHeader: "x-authorization", headers: { "x-dev-user": "me" } },
  );
  await client.send({ text: "x" }).finished;
  assert.deepEqual(requests.map(({ headers }) => headers["x-authorization"]), ["Bearer old", "Bearer new"]);
  assert.equal(requests[0].headers.authorization, undefined);
  assert.equal(requests[0].headers["x-dev-user"], "me");
  await assert.rejects(events(client.send({ text: "x" })), { code: "unauthenticated", status: 401 });
  assert.equal(requests.length, 4);
});

test("an error of `token` is retried, for a send and for a resume", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const offline = () => Promise.reject(new TypeError("Failed to fetch"));
  const tokens = [offline, offline, () => "one", offline, offline, () => "two"];
  const { client, requests, received } = await served(
    t,
    [stream(frame(START), chunk("a", 1)), stream(frame(START), chunk("b", 2), frame(COMPLETE))],
    { token: () => tokens.shift()() },
  );
  const answer = client.send({ text: "x", conversationId: "conversation" });
  assert.equal((await answer.finished).text, "ab");
  assert.deepEqual(received(), ["POST stream /chat", "GET stream /chat/conversation/stream"]);
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer one", "Bearer two"]);
});

test("a ConverseError of `token` ends the request, and nothing is sent", async (t) => {
  const told = { code: "signed_out", message: "Sign in again.", status: 401, retryable: false };
  const token = () => Promise.reject(new ConverseError(told));
  const { client, requests } = await served(t, [], { token });
  await assert.rejects(events(client.send({ text: "x" })), told);
  await assert.rejects(client.get("/profile"), told);
  assert.deepEqual(requests, []);
});

test("without a token the request is sent, and the server decides", async (t) => {
  const { client, requests } = await served(t, Array(2).fill(reply("unauthenticated")), { token: () => "" });
  await assert.rejects(client.get("/profile"), { code: "unauthenticated", status: 401 });
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), [undefined, undefined]);
});

test("a token that never resolves is given up with the connection", { timeout: 10_000 }, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 0);
  const tokens = [new Promise(() => {}), "late"];
  const { client, received } = await served(
    t,
    [stream(frame(START), frame(COMPLETE))],
    { token: () => tokens.shift() },
  );
  const answer = client.resume("conversation");
  await new Promise(setImmediate);
  t.mock.timers.tick(25_000);
  while (!received().length) {
    await new Promise(setImmediate);
    t.mock.timers.tick(1); // the back-off of no length
  }
  assert.equal((await answer.finished).finishReason, "stop");
});

test("the signature is the hash of the sent body", async (t) => {
  const { client, requests } = await served(t, [answered(), json(200, {}), json(204)], { signBody: true });
  await client.send({ text: "河🌊" }).finished;
  await client.get("/profile");
  await client.post("empty");
  for (const { headers, text, received } of requests) {
    const expected = received.startsWith("GET") ? undefined : createHash("sha256").update(text).digest("hex");
    assert.equal(headers["x-amz-content-sha256"], expected);
  }
});

test("buffered routes use apiUrl", async (t) => {
  const { client, requests, received } = await served(t, [
    json(200, { facts: [] }),
    json(201, { id: "f" }),
    json(200, { name: "Ada" }),
    json(200, { title: "T" }),
    json(204),
    reply("not found"),
    json(502),
  ]);
  assert.deepEqual(await client.get("/memory"), { facts: [] });
  assert.deepEqual(await client.post("/memory", { text: "t" }), { id: "f" });
  assert.deepEqual(await client.put("/profile", { name: "Ada" }), { name: "Ada" });
  assert.deepEqual(await client.patch("/conversations/c", { title: "T" }), { title: "T" });
  assert.equal(await client.delete("/memory/f"), undefined);
  await assert.rejects(client.get("/conversations/d"), { code: "not_found", status: 404, retryable: false });
  await assert.rejects(client.get("/health"), { code: "http", status: 502, retryable: true });
  const routes = ["GET api /memory", "POST api /memory", "PUT api /profile", "PATCH api /conversations/c"];
  assert.deepEqual(received().slice(0, 5), [...routes, "DELETE api /memory/f"]);
  assert.deepEqual(requests[1].body, { text: "t" });
});

test("stop uses apiUrl, and url if that is unreachable", async (t) => {
  const stopped = reply("stopped");
  const answers = [stopped, reset, stopped, json(403), stopped, reply("not active")];
  const { client, received, requests } = await served(t, answers);
  await client.stop("conversation", "generation");
  await client.stop("conversation");
  await client.stop("conversation");
  await client.stop("conversation", "generation"); // it had ended
  const [api, url] = [`POST api ${CANCEL}`, `POST stream ${CANCEL}`];
  assert.deepEqual(received(), [api, api, url, api, url, api]);
  assert.deepEqual(requests[0].body, { generationId: "generation" });
  assert.deepEqual(requests[1].body, {});
});

test("stop repeats a 404 without a generation id, and not with one", async (t) => {
  const unknown = reply("not found");
  const { client, received } = await served(t, [unknown, unknown, reply("stopped"), unknown]);
  await client.stop("conversation");
  assert.equal(received().length, 3);
  await assert.rejects(client.stop("conversation", "generation"), { code: "not_found" });
});

test("stop of an answer sends its generation id, and the answer ends as cancelled", async (t) => {
  let running;
  const cancelled = (response) => {
    reply("stopped")(response);
    running.end(frame({ ...COMPLETE, finishReason: "cancelled" }));
  };
  const { client, requests } = await served(t, [(response) => open(frame(START))((running = response)), cancelled]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  for await (const event of answer) if (event.type === "start") await answer.stop();
  assert.deepEqual(requests[1].body, { generationId: "generation" });
  assert.equal((await answer.finished).finishReason, "cancelled");
});

test("stop before `start` is repeated with the generation id after `start`", async (t) => {
  let running;
  const { client, requests, received } = await served(t, [
    (response) => (running = response),
    (response) => {
      reply("stopped")(response);
      open(frame(START))(running);
    },
    (response) => {
      reply("stopped")(response);
      running.end(frame({ ...COMPLETE, finishReason: "cancelled" }));
    },
  ]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  while (!running) await new Promise(setImmediate);
  await answer.stop();
  assert.equal((await answer.finished).finishReason, "cancelled");
  assert.deepEqual(received(), ["POST stream /chat", `POST api ${CANCEL}`, `POST api ${CANCEL}`]);
  assert.deepEqual(requests.slice(1).map(({ body }) => body), [{}, { generationId: "generation" }]);
});

test("a message that the server has not received is not sent again after stop", async (t) => {
  t.mock.timers.enable({ apis: ["Date"] });
  const late = (response) => {
    t.mock.timers.tick(10_001);
    reply("not found")(response);
  };
  const { client, received } = await served(t, [() => {}, late]);
  const answer = client.send({ text: "x", conversationId: "conversation" });
  while (!received().length) await new Promise(setImmediate);
  await answer.stop();
  assert.equal((await answer.finished).finishReason, undefined);
  assert.equal(received().length, 2);
});

test("closing the page cancels the generation with stopOnLeave", async (t) => {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  t.after(() => delete globalThis.addEventListener);
  const received = [];
  const fetch = (url, init) => {
    received.push([init.method, url, init.keepalive, init.headers.authorization]);
    return pieces(frame(START) + frame(COMPLETE), 1e6)();
  };
  const client = new ConverseStream({ url: "http://x", token: () => "t", fetch });
  for (const stopOnLeave of [false, true]) {
    received.length = 0;
    const answer = client.send({ text: "x", conversationId: "conversation", stopOnLeave });
    for await (const event of answer) if (event.type === "start") page.dispatchEvent(new Event("pagehide"));
    page.dispatchEvent(new Event("pagehide")); // nothing is left to stop
    assert.deepEqual(received.slice(1), stopOnLeave ? [["POST", `http://x${CANCEL}`, true, "Bearer t"]] : []);
  }
});

test("features of this platform", () => {
  assert.deepEqual(features(), { streaming: true, signing: true });
});
