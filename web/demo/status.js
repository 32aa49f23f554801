import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const STAGES = {
  memory: "Answering without memory",
  history: "Answering without some earlier messages",
  search: "Searching",
  thinking: "Thinking",
  tool: "Using a tool",
  retry: "The model is busy, trying again",
  fallback: "Another model answers",
};

/** The status text of an event, or undefined. */
function words(event) {
  if (event.type === "connection") {
    if (event.state === "waiting") return navigator.onLine ? "Reconnecting…" : "Offline, will continue when online";
    return { connecting: "Connecting…", buffered: "Answering in one piece" }[event.state];
  }
  if (event.type === "progress") return STAGES[event.stage];
  return { start: "Thinking…", chunk: "Answering", reasoning: "Reasoning…", tool: "Using a tool" }[event.type];
}

/** The status at the top of the page: a dot and a few words. */
export class Status {
  #state = "busy";
  #text = "Loading…";
  #idle = true;
  #paint = () => {
    byId("connection").dataset.state = this.#state;
    byId("connection").textContent = this.#text;
  };

  constructor() {
    for (const name of ["online", "offline"]) addEventListener(name, () => this.#idle && this.rest());
    this.rest();
  }

  /** No generation is running. */
  rest() {
    this.#idle = true;
    this.#set(navigator.onLine ? "ready" : "offline", navigator.onLine ? "Ready" : "Offline");
  }

  /** @param {object} event  of an answer */
  show(event) {
    this.#idle = false;
    const text = words(event);
    if (text) this.#set(event.type === "connection" && event.state === "waiting" ? "offline" : "busy", text);
  }

  #set(state, text) {
    if (state === this.#state && text === this.#text) return;
    this.#state = state;
    this.#text = text;
    onFrame(this.#paint);
  }
}
