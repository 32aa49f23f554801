// Streams of the AI SDK dialect in pieces of random size, read by one version of the AI SDK.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { User, isOpen, contentOf } from "./chat.js";

const FIXTURES = new URL("../../fixtures/", import.meta.url);

let server, api, bytes;

before(async () => {
  server = createServer(async (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "x-vercel-ai-ui-message-stream": "v1" });
    for (const piece of split(bytes)) {
      response.write(piece);
      await new Promise(setImmediate); // so that each piece is a separate write
    }
    response.end();
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  api = `http://127.0.0.1:${server.address().port}`;
});

after(() => server.close());

/** Yields the bytes in pieces of random size; a piece may end inside a character. */
function* split(whole, largest = Math.max(16, whole.length / 500)) {
  for (let at = 0; at < whole.length; ) {
    const size = 1 + Math.floor(Math.random() * largest);
    yield whole.subarray(at, at + size);
    at += size;
  }
}

/** Returns a chat that has received the bytes. */
async function chatWith(sent) {
  bytes = sent;
  const chat = new User().chat({ api });
  await chat.sendMessage({ text: "Hello?" });
  return chat;
}

for (const name of readdirSync(FIXTURES).filter((each) => existsSync(new URL(`${each}/events.json`, FIXTURES)))) {
  // A rollback is sent only to followers ahead of the stored text, and these chats read from the beginning.
  test(`fixture ${name} has the recorded answer`, { skip: name === "rollback" }, async () => {
    const answer = JSON.parse(readFileSync(new URL(`${name}/answer.json`, FIXTURES)));
    const chat = await chatWith(readFileSync(new URL(`${name}/ai-sdk.sse`, FIXTURES)));
    const message = chat.lastMessage;
    const { finishReason, error, ...content } = answer;
    assert.deepEqual(contentOf(message), content);
    assert.equal(message.id, "message-2");
    assert.equal(message.metadata.finishReason, finishReason);
    assert.equal(message.metadata.error?.code, error);
    assert.deepEqual(chat.errors.map((each) => each.message), error ? [message.metadata.error.message] : []);
    assert.equal(chat.status, error ? "error" : "ready");
    assert.ok(!message.parts.some(isOpen));
  });
}

test("an answer of a megabyte arrives unchanged", async () => {
  const chat = await chatWith(readFileSync(process.env.MEGABYTE_SSE));
  assert.deepEqual(chat.errors, []);
  assert.ok(contentOf(chat.lastMessage).text === readFileSync(process.env.MEGABYTE_TEXT, "utf8"));
});
