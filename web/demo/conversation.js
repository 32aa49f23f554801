import { announce } from "./announcer.js";
import { byId } from "./elements.js";
import { onFrame } from "./frame.js";
import { Answer, question } from "./message.js";
import { setChildren } from "./morph.js";
import { fold } from "./vendor/converse-stream.js";

const POLL = 2_000; // ms

/** The open conversation: its messages and the running answer. */
export class Conversation {
  #client;
  #page;
  #list = byId("messages");
  #cursor;
  #left = false;
  #isNew = true;
  /** The client's answer while it is read. */
  #coming;
  /** The last requested answer, and whether it was requested while the stored messages were being loaded. */
  #asked;
  #isBehind = false;
  /** The last answer on the page: its view, its content, and the action of "Try again". */
  #last;
  /** The newest question. */
  #question = "";
  /** The view of an answer or the element of a question, by the id of the stored message. */
  #known = new Map();

  /**
   * @param {import("../client/converse-stream.js").ConverseStream} client
   * @param {string} id
   * @param {{
   *   busy(is: boolean): void, event(event: object): void, begun(id: string): void, failed(error: Error): void,
   *   loaded(id: string, lastQuestion?: string): void, arrived(id: string): void, opened(id: string): void,
   *   unanswered(id: string, question: string, retryable: boolean): void,
   *   turn(): import("../client/converse-stream.js").TurnOptions,
   *   scroller: import("./scroller.js").Scroller,
   * }} page  callbacks of the page
   */
  constructor(client, id, page) {
    this.#client = client;
    this.id = id;
    this.#page = page;
    this.#list.replaceChildren();
    page.scroller.toEnd();
    byId("earlier").hidden = true;
    byId("earlier").onclick = () => this.#earlier().catch(page.failed);
  }

  /** Whether an answer is running. */
  get busy() {
    return Boolean(this.#last?.shown.speaking);
  }

  /** Shows the stored messages and follows the running generation, also one of another tab. Throws ConverseError. */
  async open() {
    this.#isNew = false;
    const messages = await this.#load();
    const last = messages.findLast(({ role }) => role === "user");
    this.#page.loaded(this.id, last && textOf(last));
    if (this.busy || this.#left) return; // something was sent meanwhile
    const came = await this.#read(this.#client.resume(this.id)).catch(() => this.#becomesWhole());
    if (came || this.busy || this.#left) return;
    if (messages.at(-1)?.role === "user") await this.#load(); // it ended between the two requests
  }

  /** @param {string} text */
  async send(text) {
    const asked = question(text);
    this.#question = text;
    const view = this.#view();
    const again = () => {
      asked.remove();
      view.element.remove();
      return this.send(text);
    };
    onFrame(() => this.#list.append(asked));
    this.#page.scroller.toEnd();
    const answer = this.#client.send({ ...this.#page.turn(), text, conversationId: this.id });
    const sent = await this.#read(answer, { view, again, asked, begun: this.#page.arrived });
    if (sent && this.#isNew) {
      this.#isNew = false;
      this.#page.opened(this.id);
    }
    if (!sent) this.#page.unanswered(this.id, text, this.#last.shown.error?.retryable !== false);
  }

  /** Replaces the last answer by a new one. */
  regenerate() {
    if (this.busy) return;
    const { view, shown } = this.#last;
    view.element.remove();
    const answer = this.#client.regenerate(this.id, this.#page.turn());
    return this.#read(answer, { again: () => this.regenerate(), instead: { view, shown } });
  }

  /** Continues the last answer. */
  continue() {
    if (this.busy) return;
    const { view, shown } = this.#last;
    const again = () => this.continue();
    return this.#read(this.#client.continue(this.id, this.#page.turn()), { view, again, before: shown.parts });
  }

  /** Cancels the generation. Throws ConverseError. */
  async stop() {
    await this.#coming?.stop();
  }

  /** Stops to read. The generation continues on the server. */
  leave() {
    this.#left = true;
    this.#coming?.leave();
  }

  async #load() {
    const asked = this.#asked;
    const messages = await this.#messages();
    this.#write(() => {
      this.#isBehind = this.#asked !== asked;
      if (this.#isBehind) return;
      setChildren(
        this.#list,
        messages.map((each) => this.#stored(each)),
      );
      this.#page.scroller.follow();
      if (messages.at(-1)?.error?.retryable === false) this.#page.unanswered(this.id, this.#question, false);
    });
    return messages;
  }

  /** Without streaming: waits until the running generation has ended, and shows its answer. */
  async #becomesWhole() {
    while (!this.busy && !this.#left) {
      const { active } = await this.#client.get(`/conversations/${this.id}`);
      if (!active) break;
      this.#page.event({ type: "connection", state: "buffered" });
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
    if (this.busy || this.#left) return false;
    await this.#load();
    this.#page.busy(false);
    return true;
  }

  async #earlier() {
    const messages = await this.#messages(this.#cursor);
    this.#write(() => {
      const [last, asked] = [this.#last, this.#question];
      this.#page.scroller.keeping(() => this.#list.prepend(...messages.map((each) => this.#stored(each))));
      this.#last = last;
      this.#question = asked;
    });
  }

  async #messages(cursor) {
    const query = new URLSearchParams({ limit: "30", ...(cursor && { cursor }) });
    const page = await this.#client.get(`/conversations/${this.id}/messages?${query}`);
    this.#cursor = page.cursor;
    return page.messages;
  }

  #write(write) {
    onFrame(() => {
      if (this.#left) return;
      write();
      byId("earlier").hidden = !this.#cursor;
    });
  }

  #stored(message) {
    const known = this.#known.get(message.id);
    if (message.role === "user") {
      this.#question = textOf(message);
      const asked = known ?? question(this.#question);
      this.#known.set(message.id, asked);
      return asked;
    }
    const view = known ?? this.#view();
    this.#known.set(message.id, view);
    view.show(message);
    this.#last = { view, shown: message, retry: () => this.regenerate() };
    return view.element;
  }

  #view() {
    return new Answer({
      retry: () => this.#last.retry(),
      regenerate: () => this.regenerate(),
      continue: () => this.continue(),
    });
  }

  /**
   * Shows an answer while it is received. Returns whether any event was received.
   * @param {import("../client/converse-stream.js").Answer} answer
   * @param {object} options  for an answer that the user has requested: its view, `again` repeats the request, `begun`
   *   is called with the first event, the element of the question, the parts `before` a continuation, and what to show
   *   `instead` if it does not start. An answer that was already running is shown with its first event.
   */
  async #read(answer, { view = this.#view(), again, begun, asked, before = [], instead } = {}) {
    const last = { view, shown: { parts: before, speaking: true }, retry: again };
    let state = before.reduce((said, part) => fold(said, eventOf(part)), undefined);
    let came = false;
    const paint = () => {
      if (this.#left) return;
      last.view.show(last.shown);
      if (!last.view.element.isConnected) this.#list.append(last.view.element);
      this.#page.scroller.follow();
    };
    const begin = () => {
      this.#last = last;
      this.#page.busy(true);
      announce("Answering");
      onFrame(paint);
    };

    const arrived = () => {
      came = true;
      this.#page.begun(this.id);
      begun?.(this.id);
    };

    this.#coming?.leave(); // a resume without an event yet
    this.#coming = answer;
    if (again) {
      this.#asked = last;
      begin();
    }
    try {
      for await (const event of answer) {
        this.#page.event(event);
        if (event.type === "connection") continue;
        if (!came) {
          if (!again) begin();
          arrived();
        }
        state = fold(state, event);
        if (event.type === "start") this.#known.set(event.messageId, view);
        if (asked && event.userMessage) this.#known.set(event.userMessage.id, asked);
        last.shown = after(event, last.shown, state, instead?.shown);
        last.retry = () => this.regenerate();
        onFrame(paint);
      }
      if (again && !came) {
        const { generationId } = await answer.finished; // undefined if it was stopped before `start`
        if (!generationId) throw new Error("Stopped before it was sent.");
        arrived();
      }
    } catch (error) {
      if (!again && !came) throw error;
      if (instead && !came) {
        view.element.remove();
        Object.assign(last, instead);
      }
      last.shown = { ...last.shown, speaking: false, error };
      if (came) last.retry = () => this.open().catch(this.#page.failed); // the generation may still run on the server
      onFrame(paint);
    } finally {
      if (this.#coming === answer) {
        this.#coming = undefined;
        if (!this.#left) this.#page.busy(false);
      }
    }
    const { error } = last.shown;
    if (came && error?.retryable === false) this.#page.unanswered(this.id, this.#question, false);
    if (this.#left || this.#last !== last) return came;
    if (came && (this.#isBehind || last.shown.speaking)) await this.#load(); // or it has ended meanwhile
    onFrame(() => announce(last.view.spoken || last.shown.error?.message || "No answer"));
    return came;
  }
}

/** The text of a stored user message. */
function textOf({ parts }) {
  return parts.map((part) => part.text ?? "").join("");
}

/** The content of the view after an event. `replaced` is the answer that this one replaces, if any. */
function after(event, shown, state, replaced) {
  if (event.type === "complete") return { ...event.aiMessage, metrics: event.metrics, adapted: shown.adapted };
  if (event.type === "progress" && event.stage === "adapted") {
    return { ...shown, adapted: [...(shown.adapted ?? []), event.detail] };
  }
  if (event.type === "error") {
    const kept = event.messageId && event.messageId === replaced?.id ? replaced : shown; // no new text
    return { ...kept, speaking: false, error: event };
  }
  return { ...shown, parts: state.parts };
}

/** Converts a stored part to an event. */
function eventOf({ type, text, ...rest }) {
  if (type === "text") return { type: "chunk", content: text };
  return type === "reasoning" ? { type, content: text } : { type, ...rest };
}
