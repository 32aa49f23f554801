import { announce } from "./announcer.js";
import { byId } from "./elements.js";
import { onFrame } from "./frame.js";
import { Answer, question } from "./message.js";
import { setChildren } from "./morph.js";
import { fold } from "./vendor/converse-stream.js";

const POLL = 2_000; // ms

/** One conversation on the page: what was said, and the answer that is being made. */
export class Conversation {
  #client;
  #page;
  #list = byId("messages");
  #cursor;
  #left = false;
  #isNew = true;
  /** The client's answer while it comes, or may come. */
  #coming;
  /** The last answer that was asked for here, and whether that was before what is stored was on the page. */
  #asked;
  #isBehind = false;
  /** The last answer on the page: its view, what it shows, and what "Try again" does. */
  #last;
  /** The newest question. */
  #question = "";
  /** What shows a stored message, by its id: an answer's view, or a question's element. */
  #known = new Map();

  /**
   * @param {import("../client/converse-stream.js").ConverseStream} client
   * @param {string} id
   * @param {{
   *   busy(is: boolean): void, event(event: object): void, begun(id: string): void, failed(error: Error): void,
   *   loaded(id: string, lastQuestion?: string): void, arrived(id: string): void, opened(id: string): void,
   *   unanswered(id: string, question: string, retryable: boolean): void,
   *   scroller: import("./scroller.js").Scroller,
   * }} page  what the rest of the page is told and asked
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

  /** Whether an answer is being made. */
  get busy() {
    return Boolean(this.#last?.shown.speaking);
  }

  /** Shows what is stored and goes on with what is being made, by whomever. Raises ConverseError. */
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
    const answer = this.#client.send({ text, conversationId: this.id });
    const sent = await this.#read(answer, { view, again, asked, begun: this.#page.arrived });
    if (sent && this.#isNew) {
      this.#isNew = false;
      this.#page.opened(this.id);
    }
    if (!sent) this.#page.unanswered(this.id, text, this.#last.shown.error?.retryable !== false);
  }

  /** Has the last answer made again. */
  regenerate() {
    if (this.busy) return;
    const { view, shown } = this.#last;
    view.element.remove();
    return this.#read(this.#client.regenerate(this.id), { again: () => this.regenerate(), instead: { view, shown } });
  }

  /** Has the last answer gone on with. */
  continue() {
    if (this.busy) return;
    const { view, shown } = this.#last;
    const again = () => this.continue();
    return this.#read(this.#client.continue(this.id), { view, again, before: shown.parts });
  }

  /** Stops the model. Raises ConverseError. */
  async stop() {
    await this.#coming?.stop();
  }

  /** Looks away; the server goes on. */
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

  /** Shows what is being made when it is whole, where nothing streams. */
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
   * Shows an answer as it comes; whether anything came.
   * @param {import("../client/converse-stream.js").Answer} answer
   * @param {object} asked  of an answer that the user asked for: its view, how to ask again, what to do when it has
   *   begun, its question's element, what it says already, and what is shown if it never begins. One that is found
   *   running is shown when its first event comes.
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

    this.#coming?.leave(); // a resume that has found nothing yet
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
        const { generationId } = await answer.finished; // known when it was only looked away from
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
      if (came) last.retry = () => this.open().catch(this.#page.failed); // the server may well have gone on
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
    if (came && (this.#isBehind || last.shown.speaking)) await this.#load(); // or it ended while we were away
    onFrame(() => announce(last.view.spoken || last.shown.error?.message || "No answer"));
    return came;
  }
}

/** What a stored message of the user says. */
function textOf({ parts }) {
  return parts.map((part) => part.text ?? "").join("");
}

/** What is shown after an event; `replaced` is the answer that this one was to take the place of. */
function after(event, shown, state, replaced) {
  if (event.type === "complete") return { ...event.aiMessage, metrics: event.metrics };
  if (event.type === "error") {
    const kept = event.messageId && event.messageId === replaced?.id ? replaced : shown; // nothing new came
    return { ...kept, speaking: false, error: event };
  }
  return { ...shown, parts: state.parts };
}

/** A stored part as the event that said it. */
function eventOf({ type, text, ...rest }) {
  if (type === "text") return { type: "chunk", content: text };
  return type === "reasoning" ? { type, content: text } : { type, ...rest };
}
