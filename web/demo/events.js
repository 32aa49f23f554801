/** Reads server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */

/**
 * The events of a response's body as they come: `data`, parsed as JSON, and the `id` that came with it.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* events(body) {
  let rest = "";
  let id = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    // Our frames end lines with LF alone; comments (heartbeats) begin with a colon.
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("id:")) id = line.slice(3).trim();
      else if (line.startsWith("data:")) yield { id, data: JSON.parse(line.slice(5)) };
    }
  }
}
