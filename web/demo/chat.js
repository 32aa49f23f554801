import { events } from "./events.js";

const TERMINAL = new Set(["complete", "error"]);
const PATIENCE = 8; // attempts to come back, with growing pauses: about half a minute

/** Refused before anything was streamed; `message` is the server's own. */
export class Refused extends Error {}

/** One conversation with the server: sends, comes back when the line drops, and stops. */
export class Chat {
  constructor({ functionUrl, apiUrl }, id = crypto.randomUUID()) {
    this.id = id;
    this.urls = { functionUrl, apiUrl };
  }

  /** Sends a message and yields the answer's events to the terminal one, whatever the line does. */
  async *send(text) {
    const request = {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID() },
      body: JSON.stringify({ conversationId: this.id, message: { text } }),
    };
    yield* this.#follow(() => fetch(new URL("chat", this.urls.functionUrl), request));
  }

  /** Yields what is being made, from its begin; nothing when nothing is. */
  async *resume() {
    yield* this.#follow(() => this.#attach(""));
  }

  /** Stops the model. API Gateway is asked, because running streams cannot starve it. */
  async stop() {
    const url = new URL(`chat/${this.id}/cancel`, this.urls.apiUrl);
    await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  }

  /** The messages so far, oldest first. */
  async messages() {
    const response = await fetch(new URL(`conversations/${this.id}/messages`, this.urls.apiUrl));
    return response.ok ? (await response.json()).messages : [];
  }

  #attach(cursor) {
    const headers = cursor ? { "last-event-id": cursor } : {};
    return fetch(new URL(`chat/${this.id}/stream`, this.urls.functionUrl), { headers });
  }

  async *#follow(begin) {
    let cursor = "";
    let connect = begin;
    for (let attempt = 0; attempt < PATIENCE; attempt++) {
      try {
        const response = await connect();
        if (response.status === 204) return;
        if (!response.ok) throw new Refused(await reason(response));
        for await (const { id, data } of events(response.body)) {
          cursor = id || cursor;
          attempt = 0;
          yield data;
          if (TERMINAL.has(data.type)) return;
        }
      } catch (error) {
        if (error instanceof Refused) throw error;
        yield { type: "progress", stage: "reconnect" };
        await new Promise((resume) => setTimeout(resume, Math.random() * Math.min(8000, 250 * 2 ** attempt)));
      }
      // The same send again until the server is known to have it (its key makes that safe), then only reading.
      if (cursor) connect = () => this.#attach(cursor);
    }
    throw new Error("the server cannot be reached");
  }
}

async function reason(response) {
  const { error } = await response.json().catch(() => ({}));
  return error?.message ?? `The server answered ${response.status}.`;
}
