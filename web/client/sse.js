import { createParser } from "eventsource-parser";

/** @import { StreamEvent } from "./converse-stream.js" */

/**
 * Yields the events of a response with the `id` of each frame. Calls `onChunk` for each chunk of the network.
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} onChunk
 * @returns {AsyncGenerator<{ id: string | undefined, event: StreamEvent }, void, undefined>}
 */
export async function* events(body, onChunk) {
  /** @type {import("eventsource-parser").EventSourceMessage[]} */
  const frames = [];
  const parser = createParser({ onEvent: (frame) => frames.push(frame) });
  const decoder = new TextDecoder(); // one for the whole stream: a chunk may end inside a character
  const reader = body.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onChunk();
      parser.feed(decoder.decode(value, { stream: true }));
      for (const { id, data } of frames.splice(0)) yield { id, event: JSON.parse(data) };
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
