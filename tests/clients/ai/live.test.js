// What a front end does all day, with one version of the AI SDK, against the running stack.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Person, ai, isOpen, read, readStored } from "./chat.js";
import { line } from "../native/proxy.js";

const QUICK = "[[pace=1 first=1]]";
const SLOW = "[[tokens=60 pace=30 first=1]]"; // two seconds
const ENDLESS = "[[tokens=500 pace=40 first=1]]"; // 20 seconds

/** Waits until it holds. */
async function until(holds) {
  for (const begun = Date.now(); Date.now() - begun < 20_000; await pause(20)) {
    if (await holds()) return;
  }
  assert.fail(`never: ${holds}`);
}

const spoken = (chat) => read(chat.lastMessage).text.split(" ").length;

/** The last message is whole, and the stored one. */
async function assertStored(person, chat) {
  const stored = (await person.stored(chat.id)).at(-1);
  assert.deepEqual({ id: chat.lastMessage.id, ...read(chat.lastMessage) }, { id: stored.id, ...readStored(stored) });
  assert.ok(!chat.lastMessage.parts.some(isOpen));
  return stored;
}

const [USE, RELOAD] = [
  ...readFileSync(new URL("../../../docs/clients.md", import.meta.url), "utf8")
    .split("## useChat")[1]
    .split("\n## ")[0]
    .matchAll(/```js\n(.*?)```/gs),
].map(([, code]) => code.replace(/^import .*$/gm, ""));

/** Runs a snippet of the documents with our doors, as a page of that user; what it has declared under these names. */
function snippet(code, person, names, id) {
  const asUser = (url, init) => fetch(url, { ...init, headers: { ...init?.headers, ...person.headers } });
  class DefaultChatTransport extends ai.DefaultChatTransport {
    constructor(options) {
      super({ ...options, fetch: asUser });
    }
  }
  const page = { URL: process.env.STREAM_URL, API: process.env.API_URL, fetch: asUser, DefaultChatTransport, id };
  page.useChat = (options) => person.chat(options);
  const run = new Function(...Object.keys(page), `return (async () => { ${code}\n return { ${names} }; })()`);
  return run(...Object.values(page));
}

/** The conversation as a page shows it that has just been loaded. */
const loaded = async (person, id) => (await snippet(RELOAD, person, "messages", id)).messages;

describe(process.env.AI_SDK, { concurrency: 2 }, () => {
  test("several turns", async () => {
    const person = new Person();
    const chat = person.chat();
    for (const about of ["rivers", "lakes", "the sea"]) {
      await chat.sendMessage({ text: `Tell me about ${about} ${QUICK}` });
      const stored = await assertStored(person, chat);
      assert.ok(spoken(chat) > 10);
      const { usage, ...metadata } = chat.lastMessage.metadata;
      const { generationId, model } = stored;
      assert.deepEqual(metadata, { conversationId: chat.id, generationId, model, finishReason: "stop" });
      assert.deepEqual(usage, stored.usage);
    }
    assert.deepEqual(chat.errors, []);
    assert.equal(chat.status, "ready");
    assert.equal(chat.messages.length, 6);
    assert.equal((await person.stored(chat.id)).length, 6);
  });

  test("reasoning and citations", async () => {
    const person = new Person();
    const chat = person.chat({ body: { model: "claude-haiku", options: { reasoning: "low" }, aFieldOfTheirs: true } });
    await chat.sendMessage({ text: `[[cite]] rivers ${QUICK}` });
    await assertStored(person, chat);
    const { reasoning, citations } = read(chat.lastMessage);
    assert.ok(reasoning.length > 5);
    assert.equal(citations.length, 1);
    assert.equal(chat.lastMessage.metadata.model, "claude-haiku");
    assert.deepEqual(chat.errors, []);
  });

  test("regenerate, twice", async () => {
    const person = new Person();
    const chat = person.chat();
    await chat.sendMessage({ text: `Tell me about rivers ${QUICK}` });
    const generations = [chat.lastMessage.metadata.generationId];
    await chat.regenerate();
    generations.push((await assertStored(person, chat)).generationId);
    await chat.regenerate({ messageId: chat.lastMessage.id });
    generations.push((await assertStored(person, chat)).generationId);
    assert.equal(new Set(generations).size, 3);
    assert.equal(chat.messages.length, 2);
    assert.equal((await person.stored(chat.id)).length, 2);
    assert.deepEqual(chat.errors, []);
  });

  test("regenerate after a reload", async () => {
    const person = new Person();
    const first = person.chat();
    await first.sendMessage({ text: `Tell me about rivers ${QUICK}` });
    const chat = person.chat({ id: first.id, messages: await loaded(person, first.id) });
    await chat.regenerate();
    await assertStored(person, chat);
    assert.notEqual(chat.lastMessage.id, first.lastMessage.id);
    assert.equal((await person.stored(chat.id)).length, 2);
  });

  test("the same request twice is one answer", async () => {
    const person = new Person();
    const send = (chat, text) => chat.sendMessage({ id: "the-same-message", parts: [{ type: "text", text }] });
    const { id } = person.chat();
    const twins = [person.chat({ id }), person.chat({ id })];
    await Promise.all(twins.map((chat) => send(chat, `Tell me about rivers ${QUICK}`)));
    await Promise.all(twins.map((chat) => assertStored(person, chat)));
    await Promise.all(twins.map((chat) => chat.regenerate({ messageId: chat.lastMessage.id })));
    assert.deepEqual(twins.flatMap((chat) => chat.errors), []);
    await Promise.all(twins.map((chat) => assertStored(person, chat)));
    assert.equal((await person.stored(id)).length, 2);
  });

  test("leaving does not stop the answer, stopping does", async () => {
    const person = new Person();
    const { chat, stop } = await snippet(USE, person, "chat, stop");
    const sent = chat.sendMessage({ text: `Tell me about rivers ${ENDLESS}` });
    await until(() => chat.messages.length === 2 && spoken(chat) > 5);
    await chat.stop();
    await sent;
    assert.equal(chat.status, "ready");
    const follower = person.chat({ id: chat.id });
    const resumed = follower.resumeStream();
    await until(() => follower.messages.length && spoken(follower) > spoken(chat) + 5);
    await stop();
    await resumed;
    const stored = await assertStored(person, follower);
    assert.equal(stored.finishReason, "cancelled");
    assert.equal(follower.lastMessage.metadata.finishReason, "cancelled");
    assert.ok(read(follower.lastMessage).text.startsWith(read(chat.lastMessage).text));
    assert.ok(spoken(follower) < 300);
    assert.deepEqual([chat.errors, follower.errors], [[], []]);
  });

  test("a line that is cut, and taken up again", async (t) => {
    const person = new Person();
    const { url, drop } = await line(t, `${process.env.STREAM_URL}/ai/chat`);
    let chat = person.chat({ api: url });
    const sent = chat.sendMessage({ text: `Tell me about rivers ${SLOW}` });
    await until(() => chat.messages.length === 2 && spoken(chat) > 5);
    drop();
    await sent;
    assert.equal(chat.status, "error");
    const [, partial] = chat.messages;
    if (process.env.AI_SDK === "ai5") {
      // Version 5 adds what it is told again to what it has: it goes on in a new chat, without the partial answer.
      chat = person.chat({ id: chat.id, messages: chat.messages.slice(0, 1) });
    }
    await chat.resumeStream();
    await assertStored(person, chat);
    assert.equal(chat.lastMessage.id, partial.id);
    assert.ok(read(chat.lastMessage).text.startsWith(read(partial).text));
    assert.equal(spoken(chat), 60);
    assert.equal(chat.messages.length, 2);
    assert.equal(chat.status, "ready");
  });

  test("a reload while the answer comes, and after it", async () => {
    const person = new Person();
    const first = person.chat();
    const sent = first.sendMessage({ text: `Tell me about rivers ${SLOW}` });
    await until(() => first.messages.length === 2 && spoken(first) > 5);
    const reloaded = person.chat({ id: first.id, messages: await loaded(person, first.id) });
    assert.equal(reloaded.messages.length, 1);
    await reloaded.resumeStream();
    await sent;
    await assertStored(person, reloaded);
    const later = person.chat({ id: first.id, messages: await loaded(person, first.id) });
    await later.resumeStream();
    await assertStored(person, later);
    for (const chat of [first, reloaded, later]) {
      assert.equal(chat.messages.length, 2);
      assert.deepEqual(read(chat.lastMessage), read(first.lastMessage));
      assert.deepEqual(chat.errors, []);
    }
  });

  test("a new chat has nothing to resume", async () => {
    const chat = new Person().chat();
    await chat.resumeStream();
    assert.deepEqual([chat.status === "error", chat.errors, chat.messages], [false, [], []]);
  });

  test("an error in the middle, and another try", async () => {
    const person = new Person();
    const chat = person.chat();
    await chat.sendMessage({ text: `${chat.id} [[fault=cut at=5 times=1]] ${QUICK}` });
    assert.equal(chat.status, "error");
    assert.deepEqual(chat.errors.map((error) => error.message), ["The answer was interrupted."]);
    const stored = await assertStored(person, chat);
    assert.equal(stored.status, "failed");
    const { code, retryable } = chat.lastMessage.metadata.error;
    assert.deepEqual([code, retryable], ["model_truncated", true]);
    await chat.regenerate();
    assert.equal(chat.status, "ready");
    assert.equal((await assertStored(person, chat)).status, "complete");
  });

  test("refusals are named, and a message that was refused can be sent again", async () => {
    const person = new Person();
    const chat = person.chat();
    const refused = () => JSON.parse(chat.errors.pop().message).error;
    await chat.sendMessage({ text: `rivers ${QUICK}`, files: [{ type: "file", mediaType: "text/plain", url: "data:,a" }] });
    assert.deepEqual([refused().field, chat.status], ["messages.0.parts.0.type", "error"]);
    chat.messages = [];
    await chat.sendMessage({ text: `rivers ${QUICK}` }, { body: { model: "no-such-model" } });
    assert.equal(refused().field, "model");
    await chat.regenerate({ body: { model: "nova-lite" } });
    await assertStored(person, chat);
    const [question, answer] = chat.messages;
    await chat.sendMessage({ text: `lakes ${QUICK}` });
    const all = chat.messages;
    await chat.sendMessage({ text: "seas", messageId: question.id });
    assert.equal(refused().field, "messageId");
    chat.messages = all;
    await chat.regenerate({ messageId: answer.id });
    assert.equal(refused().field, "messageId");
    chat.messages = all;
    await chat.regenerate();
    await assertStored(person, chat);
    assert.equal((await person.stored(chat.id)).length, 4);
    assert.deepEqual(chat.errors, []);
  });
});
