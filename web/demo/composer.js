import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const CONFIRMS_WORD = 229; // the key code of a key that an input method has taken; Safari tells it so only
const coarse = matchMedia("(pointer: coarse)"); // a screen keyboard has no Shift+Enter

/** Where the user writes. A draft belongs to its conversation and survives a reload, as what is being sent does. */
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
      if (event.isComposing || event.keyCode === CONFIRMS_WORD) return;
      event.preventDefault();
      byId("composer").requestSubmit();
    });
    byId("stop").addEventListener("click", () => on.stop());
    byId("skip").addEventListener("click", () => this.#text.focus());
    coarse.addEventListener("change", this.#hint);
    this.#hint();
  }

  /** While an answer comes there is a stop button in place of the send button. */
  busy(is) {
    this.#busy = is;
    onFrame(() => {
      byId("send").hidden = this.#busy;
      byId("stop").hidden = !this.#busy;
      if (document.activeElement === document.body) this.focus(); // the button that had it is gone
    });
  }

  /** Shows a conversation's draft. @param {string} [id]  left out for a new one */
  open(id) {
    const early = this.#id === null ? this.#text.value : ""; // written before the page was ready
    this.#id = id;
    this.#write(early || (draft.of(id) ?? ""));
  }

  /** Gives what is written in one conversation to another. */
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

  /** What is sent outlives the page until it has arrived. */
  sending(id, text) {
    unsent.set(id, text);
    this.#sending.add(id);
  }

  arrived(id) {
    unsent.set(id);
    this.#sending.delete(id);
  }

  /** Sending failed: where the page does not offer to try again, the text comes back. */
  failed(id, text, retryable) {
    this.#sending.delete(id);
    if (retryable) return;
    unsent.set(id);
    this.#restore(id, text);
  }

  /** Gives back what did not arrive before a reload. @param {string} [lastQuestion] that is stored */
  recover(id, lastQuestion) {
    if (this.#sending.has(id)) return;
    const text = unsent.of(id);
    unsent.set(id);
    if (text !== lastQuestion) this.#restore(id, text);
  }

  /** On a phone that would open the keyboard, which nobody asked for. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }

  /** Unless something else is being written there. */
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
