import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const INPUT_METHOD_KEY = 229; // the key code of a key that an input method has used; the only sign in Safari
const coarse = matchMedia("(pointer: coarse)"); // a screen keyboard has no Shift+Enter

/** The form for messages. Each conversation has a draft. Drafts and unsent messages survive a reload. */
export class Composer {
  #text = byId("text");
  #busy = false;
  /** The open conversation; undefined is the next new one, null is none yet. */
  #id = null;
  /** Conversations with a message that this page is sending. */
  #sending = new Set();

  /** @param {{ send(text: string): void, stop(): void }} on */
  constructor(on) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value;
      if (this.#busy || !text.trim()) return;
      this.#write("");
      on.send(text);
    });
    this.#text.addEventListener("input", () => this.#keep());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || coarse.matches) return;
      if (event.isComposing || event.keyCode === INPUT_METHOD_KEY) return;
      event.preventDefault();
      byId("composer").requestSubmit();
    });
    byId("stop").addEventListener("click", () => on.stop());
    byId("skip").addEventListener("click", () => this.#text.focus());
    coarse.addEventListener("change", this.#hint);
    this.#hint();
  }

  /** Shows the stop button instead of the send button while an answer is received. */
  busy(is) {
    this.#busy = is;
    onFrame(() => {
      byId("send").hidden = this.#busy;
      byId("stop").hidden = !this.#busy;
      if (document.activeElement === document.body) this.focus(); // the focused button is hidden now
    });
  }

  /** Shows the draft of a conversation. @param {string} [id]  without it, of a new one */
  open(id) {
    const early = this.#id === null ? this.#text.value : ""; // written before the page was ready
    this.#id = id;
    this.#write(early || (draft.of(id) ?? ""));
  }

  /** Moves the draft or the unsent message of one conversation to another. */
  move(from, to) {
    const text = unsent.of(from) ?? draft.of(from);
    this.forget(from);
    if (this.#id === from) this.#id = to;
    this.#restore(to, text);
  }

  forget(id) {
    draft.set(id);
    unsent.set(id);
  }

  /** Stores a message until the server has it. */
  sending(id, text) {
    unsent.set(id, text);
    this.#sending.add(id);
  }

  arrived(id) {
    unsent.set(id);
    this.#sending.delete(id);
  }

  /** Sending has failed. If the page offers no retry, the text is restored. */
  failed(id, text, retryable) {
    this.#sending.delete(id);
    if (retryable) return;
    unsent.set(id);
    this.#restore(id, text);
  }

  /** Restores a message that was not sent before a reload. @param {string} [lastQuestion]  the last stored message */
  recover(id, lastQuestion) {
    if (this.#sending.has(id)) return;
    const text = unsent.of(id);
    unsent.set(id);
    if (text !== lastQuestion) this.#restore(id, text);
  }

  /** Focuses the input. Not on a phone, where this would open the keyboard. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }

  /** Restores a text, unless the user is writing another one. */
  #restore(id, text) {
    if (!text) return;
    if (id === this.#id) this.#write(this.#text.value || text);
    else draft.set(id, draft.of(id) ?? text);
  }

  #write(text) {
    this.#text.value = text;
    this.#keep();
  }

  #keep() {
    draft.set(this.#id, this.#text.value);
  }

  #hint = () => {
    byId("keys").textContent = coarse.matches ? "" : "Enter sends, Shift+Enter begins a new line.";
  };
}

/** Texts by conversation, in the session's storage. */
const stored = (name) => ({
  /** @returns {string | null} */
  of: (id = "new") => sessionStorage.getItem(`${name} ${id}`),
  set(id = "new", text = "") {
    if (text) sessionStorage.setItem(`${name} ${id}`, text);
    else sessionStorage.removeItem(`${name} ${id}`);
  },
});
const draft = stored("draft");
const unsent = stored("unsent");
