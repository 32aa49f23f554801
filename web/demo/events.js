/** Reads server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */

/**
 * The `data` of each event in a response's body, parsed as JSON, as it comes.
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* events(body) {
  let rest = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    // Our frames end lines with LF alone; comments (heartbeats) begin with a colon.
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  }
}
