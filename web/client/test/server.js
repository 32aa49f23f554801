/** A scripted server: what tests of the client talk to over real sockets. It gives recorded replies where it is ours
 * that answers; `json` is for what Lambda, a gateway or a stranger says in its place. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { ConverseStream } from "../converse-stream.js";

/** What the server says, recorded by tests/clients/replies.py. */
export const RECORDED = JSON.parse(readFileSync(new URL("replies.json", import.meta.url), "utf8"));
const spoken = [...RECORDED.answer.body.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data));
export const START = spoken.at(0);
export const COMPLETE = spoken.at(-1);

/** The frame of an event; `position` for one that is logged. */
export const frame = (event, position) =>
  `${position ? `id: generation:${position}\n` : ""}data: ${JSON.stringify(event)}\n\n`;
export const chunk = (content, position) => frame({ type: "chunk", content }, position);

/** Answers: each writes a response. A stream ends where its frames end, with or without a terminal event. */
export const stream = (...frames) => (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(frames.join(""));
};
export const json = (status, body, headers = {}) => (response) => {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(body && JSON.stringify(body));
};
/** A recorded reply; `headers` are those of a deployment whose limits are others. */
export const reply = (name, headers = {}) => (response) => {
  const recorded = RECORDED[name];
  response.writeHead(recorded.status, { ...recorded.headers, ...headers });
  response.end(recorded.body);
};
export const reset = (response) => response.socket.destroy();
/** Frames, and then nothing, with the connection open. */
export const open = (...frames) => (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(frames.join(""));
};

/**
 * A client of a server that gives these answers in turn, whichever door is asked; and what it got, as `requests`.
 * @param {import("node:test").TestContext} t
 */
export async function served(t, answers, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const { method, url, headers } = request;
    const [, door, path] = url.match(/^\/(stream|api)(\/.*)$/);
    requests.push({ asked: `${method} ${door} ${path}`, headers, body: body && JSON.parse(body), text: body });
    const answer = answers.shift() ?? json(418);
    answer(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const client = new ConverseStream({ url: `${origin}/stream/`, apiUrl: `${origin}/api`, ...options });
  return { client, requests, asked: () => requests.map((request) => request.asked) };
}

/** All events of an answer, ours about the connection left out. */
export async function events(answer) {
  const all = [];
  for await (const event of answer) if (event.type !== "connection") all.push(event);
  return all;
}

/** A `fetch` whose body is this text in pieces of these lengths, over and over. */
export const pieces = (text, ...lengths) => async () => {
  const bytes = new TextEncoder().encode(text);
  let position = 0;
  let turn = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (position >= bytes.length) return controller.close();
      const end = position + lengths[turn++ % lengths.length];
      controller.enqueue(bytes.slice(position, end));
      position = end;
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};
