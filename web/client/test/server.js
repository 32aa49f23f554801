/** A scripted server for tests of the client, with real sockets. `reply` sends a recorded response of our server;
 * `json` is for responses of Lambda, API Gateway or other servers. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { ConverseStream } from "../converse-stream.js";

/** Responses of the server, recorded by tests/clients/replies.py. */
export const RECORDED = JSON.parse(readFileSync(new URL("replies.json", import.meta.url), "utf8"));
const answerEvents = [...RECORDED.answer.body.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data));
export const START = answerEvents.at(0);
export const COMPLETE = answerEvents.at(-1);

/** The frame of an event. `position` is for events of the log. */
export const frame = (event, position) =>
  `${position ? `id: generation:${position}\n` : ""}data: ${JSON.stringify(event)}\n\n`;
export const chunk = (content, position) => frame({ type: "chunk", content }, position);

/** Functions that write a response. A stream ends after its frames, with or without a terminal event. */
export const stream = (...frames) => (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(frames.join(""));
};
export const json = (status, body, headers = {}) => (response) => {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(body && JSON.stringify(body));
};
/** A recorded response. `headers` replace some of its headers. */
export const reply = (name, headers = {}) => (response) => {
  const recorded = RECORDED[name];
  response.writeHead(recorded.status, { ...recorded.headers, ...headers });
  response.end(recorded.body);
};
export const reset = (response) => response.socket.destroy();
/** Frames, and then an open connection without data. */
export const open = (...frames) => (response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(frames.join(""));
};

/**
 * Starts a server that sends these responses in turn, for both URLs. Returns a client and the server's requests.
 * @param {import("node:test").TestContext} t
 */
export async function served(t, answers, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const { method, url, headers } = request;
    const [, target, path] = url.match(/^\/(stream|api)(\/.*)$/);
    requests.push({ received: `${method} ${target} ${path}`, headers, body: body && JSON.parse(body), text: body });
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
  return { client, requests, received: () => requests.map((request) => request.received) };
}

/** All events of an answer without those of the connection. */
export async function events(answer) {
  const all = [];
  for await (const event of answer) if (event.type !== "connection") all.push(event);
  return all;
}

/** A `fetch` whose body is this text in chunks of these lengths, repeated in turn. */
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
