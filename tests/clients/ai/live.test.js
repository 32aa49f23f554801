// The actions of a front end with one version of the AI SDK, against the local stack.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { User, ai, isOpen, contentOf, storedContentOf } from "./chat.js";
import { startProxy } from "../native/proxy.js";

const QUICK = "[[pace=1 first=1]]";
const SLOW = "[[tokens=60 pace=30 first=1]]"; // two seconds
const ENDLESS = "[[tokens=500 pace=40 first=1]]"; // 20 seconds

/** Polls the condition until it is true; fails after 20 s. */
async function waitUntil(condition) {
  for (const start = Date.now(); Date.now() - start < 20_000; await pause(20)) {
    if (await condition()) return;
  }
  assert.fail(`not true after 20 s: ${condition}`);
}

const wordCount = (chat) => contentOf(chat.lastMessage).text.split(" ").length;

/** Asserts that the last message is complete and equals the stored one; returns the stored one. */
async function assertStored(user, chat) {
  const stored = (await user.stored(chat.id)).at(-1);
  assert.deepEqual({ id: chat.lastMessage.id, ...contentOf(chat.lastMessage) }, { id: stored.id, ...storedContentOf(stored) });
  assert.ok(!chat.lastMessage.parts.some(isOpen));
  return stored;
}

const [USE, RELOAD] = [
  ...readFileSync(new URL("../../../docs/clients.md", import.meta.url), "utf8")
    .split("## useChat")[1]
    .split("\n## ")[0]
    .matchAll(/```js\n(.*?)```/gs),
].map(([, code]) => code.replace(/^import .*$/gm, ""));

/** Runs a documented snippet as a page of that user, with the stack's URLs; returns its variables `names`. */
function snippet(code, user, names, id) {
  const asUser = (url, init) => fetch(url, { ...init, headers: { ...init?.headers, ...user.headers } });
  class DefaultChatTransport extends ai.DefaultChatTransport {
    constructor(options) {
      super({ ...options, fetch: asUser });
    }
  }
  const page = { URL: process.env.STREAM_URL, API: process.env.API_URL, fetch: asUser, DefaultChatTransport, id };
  page.useChat = (options) => user.chat(options);
  const run = new Function(...Object.keys(page), `return (async () => { ${code}\n return { ${names} }; })()`);
  return run(...Object.values(page));
}

/** Returns the messages that the documented snippet loads after a reload. */
const loadedMessages = async (user, id) => (await snippet(RELOAD, user, "messages", id)).messages;

describe(process.env.AI_SDK, { concurrency: 2 }, () => {
  test("several turns are stored in one conversation", async () => {
    const user = new User();
    const chat = user.chat();
    for (const topic of ["rivers", "lakes", "the sea"]) {
      await chat.sendMessage({ text: `Tell me about ${topic} ${QUICK}` });
      const stored = await assertStored(user, chat);
      assert.ok(wordCount(chat) > 10);
      const { usage, ...metadata } = chat.lastMessage.metadata;
      const { generationId, model } = stored;
      assert.deepEqual(metadata, { conversationId: chat.id, generationId, model, finishReason: "stop" });
      assert.deepEqual(usage, stored.usage);
    }
    assert.deepEqual(chat.errors, []);
    assert.equal(chat.status, "ready");
    assert.equal(chat.messages.length, 6);
    assert.equal((await user.stored(chat.id)).length, 6);
  });

  test("reasoning and citations are received and stored", async () => {
    const user = new User();
    const chat = user.chat({ body: { model: "claude-haiku", options: { reasoning: "low" }, unknownField: true } });
    await chat.sendMessage({ text: `[[cite]] rivers ${QUICK}` });
    await assertStored(user, chat);
    const { reasoning, citations } = contentOf(chat.lastMessage);
    assert.ok(reasoning.length > 5);
    assert.equal(citations.length, 1);
    assert.equal(chat.lastMessage.metadata.model, "claude-haiku");
    assert.deepEqual(chat.errors, []);
  });

  test("regenerate replaces the answer each time", async () => {
    const user = new User();
    const chat = user.chat();
    await chat.sendMessage({ text: `Tell me about rivers ${QUICK}` });
    const generations = [chat.lastMessage.metadata.generationId];
    await chat.regenerate();
    generations.push((await assertStored(user, chat)).generationId);
    await chat.regenerate({ messageId: chat.lastMessage.id });
    generations.push((await assertStored(user, chat)).generationId);
    assert.equal(new Set(generations).size, 3);
    assert.equal(chat.messages.length, 2);
    assert.equal((await user.stored(chat.id)).length, 2);
    assert.deepEqual(chat.errors, []);
  });

  test("regenerate after a reload replaces the answer", async () => {
    const user = new User();
    const first = user.chat();
    await first.sendMessage({ text: `Tell me about rivers ${QUICK}` });
    const chat = user.chat({ id: first.id, messages: await loadedMessages(user, first.id) });
    await chat.regenerate();
    await assertStored(user, chat);
    assert.notEqual(chat.lastMessage.id, first.lastMessage.id);
    assert.equal((await user.stored(chat.id)).length, 2);
  });

  test("two identical requests get one answer", async () => {
    const user = new User();
    const send = (chat, text) => chat.sendMessage({ id: "the-same-message", parts: [{ type: "text", text }] });
    const { id } = user.chat();
    const chats = [user.chat({ id }), user.chat({ id })];
    await Promise.all(chats.map((chat) => send(chat, `Tell me about rivers ${QUICK}`)));
    await Promise.all(chats.map((chat) => assertStored(user, chat)));
    await Promise.all(chats.map((chat) => chat.regenerate({ messageId: chat.lastMessage.id })));
    assert.deepEqual(chats.flatMap((chat) => chat.errors), []);
    await Promise.all(chats.map((chat) => assertStored(user, chat)));
    assert.equal((await user.stored(id)).length, 2);
  });

  test("disconnecting does not cancel the answer, stop does", async () => {
    const user = new User();
    const { chat, stop } = await snippet(USE, user, "chat, stop");
    const sent = chat.sendMessage({ text: `Tell me about rivers ${ENDLESS}` });
    await waitUntil(() => chat.messages.length === 2 && wordCount(chat) > 5);
    await chat.stop();
    await sent;
    assert.equal(chat.status, "ready");
    const follower = user.chat({ id: chat.id });
    const resumed = follower.resumeStream();
    await waitUntil(() => follower.messages.length && wordCount(follower) > wordCount(chat) + 5);
    await stop();
    await resumed;
    const stored = await assertStored(user, follower);
    assert.equal(stored.finishReason, "cancelled");
    assert.equal(follower.lastMessage.metadata.finishReason, "cancelled");
    assert.ok(contentOf(follower.lastMessage).text.startsWith(contentOf(chat.lastMessage).text));
    assert.ok(wordCount(follower) < 300);
    assert.deepEqual([chat.errors, follower.errors], [[], []]);
  });

  test("a dropped connection is resumed", async (t) => {
    const user = new User();
    const { url, drop } = await startProxy(t, `${process.env.STREAM_URL}/ai/chat`);
    let chat = user.chat({ api: url });
    const sent = chat.sendMessage({ text: `Tell me about rivers ${SLOW}` });
    await waitUntil(() => chat.messages.length === 2 && wordCount(chat) > 5);
    drop();
    await sent;
    assert.equal(chat.status, "error");
    const [, partial] = chat.messages;
    if (process.env.AI_SDK === "ai5") {
      // Version 5 appends the replayed text to the partial answer, so the test resumes in a new chat without it.
      chat = user.chat({ id: chat.id, messages: chat.messages.slice(0, 1) });
    }
    await chat.resumeStream();
    await assertStored(user, chat);
    assert.equal(chat.lastMessage.id, partial.id);
    assert.ok(contentOf(chat.lastMessage).text.startsWith(contentOf(partial).text));
    assert.equal(wordCount(chat), 60);
    assert.equal(chat.messages.length, 2);
    assert.equal(chat.status, "ready");
  });

  test("a reload during or after the answer shows the same answer", async () => {
    const user = new User();
    const first = user.chat();
    const sent = first.sendMessage({ text: `Tell me about rivers ${SLOW}` });
    await waitUntil(() => first.messages.length === 2 && wordCount(first) > 5);
    const reloaded = user.chat({ id: first.id, messages: await loadedMessages(user, first.id) });
    assert.equal(reloaded.messages.length, 1);
    await reloaded.resumeStream();
    await sent;
    await assertStored(user, reloaded);
    const later = user.chat({ id: first.id, messages: await loadedMessages(user, first.id) });
    await later.resumeStream();
    await assertStored(user, later);
    for (const chat of [first, reloaded, later]) {
      assert.equal(chat.messages.length, 2);
      assert.deepEqual(contentOf(chat.lastMessage), contentOf(first.lastMessage));
      assert.deepEqual(chat.errors, []);
    }
  });

  test("a new chat has nothing to resume", async () => {
    const chat = new User().chat();
    await chat.resumeStream();
    assert.deepEqual([chat.status === "error", chat.errors, chat.messages], [false, [], []]);
  });

  test("an error in the stream keeps the partial answer, and regenerate replaces it", async () => {
    const user = new User();
    const chat = user.chat();
    await chat.sendMessage({ text: `${chat.id} [[fault=cut at=5 times=1]] ${QUICK}` });
    assert.equal(chat.status, "error");
    assert.deepEqual(chat.errors.map((error) => error.message), ["The answer was interrupted."]);
    const stored = await assertStored(user, chat);
    assert.equal(stored.status, "failed");
    const { code, retryable } = chat.lastMessage.metadata.error;
    assert.deepEqual([code, retryable], ["model_truncated", true]);
    await chat.regenerate();
    assert.equal(chat.status, "ready");
    assert.equal((await assertStored(user, chat)).status, "complete");
  });

  test("rejected requests name the field, and a rejected message can be sent again", async () => {
    const user = new User();
    const chat = user.chat();
    const rejectedError = () => JSON.parse(chat.errors.pop().message).error;
    await chat.sendMessage({ text: `rivers ${QUICK}`, files: [{ type: "file", mediaType: "text/plain", url: "data:,a" }] });
    assert.deepEqual([rejectedError().field, chat.status], ["messages.0.parts.0.type", "error"]);
    chat.messages = [];
    await chat.sendMessage({ text: `rivers ${QUICK}` }, { body: { model: "no-such-model" } });
    assert.equal(rejectedError().field, "model");
    await chat.regenerate({ body: { model: "nova-lite" } });
    await assertStored(user, chat);
    const [question, answer] = chat.messages;
    await chat.sendMessage({ text: `lakes ${QUICK}` });
    const all = chat.messages;
    await chat.sendMessage({ text: "seas", messageId: question.id });
    assert.equal(rejectedError().field, "messageId");
    chat.messages = all;
    await chat.regenerate({ messageId: answer.id });
    assert.equal(rejectedError().field, "messageId");
    chat.messages = all;
    await chat.regenerate();
    await assertStored(user, chat);
    assert.equal((await user.stored(chat.id)).length, 4);
    assert.deepEqual(chat.errors, []);
  });
});
