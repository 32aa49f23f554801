import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const UNSENT = "unsent"; // in the session's storage

/** Where the user writes. */
export class Composer {
  #text = byId("text");
  #busy = false;
  #unsent = sessionStorage.getItem(UNSENT);

  /** @param {{ send(text: string): void, stop(): void }} on */
  constructor(on) {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value;
      if (this.#busy || !text.trim()) return;
      this.#text.value = "";
      on.send(text);
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("composer").requestSubmit();
    });
    byId("stop").addEventListener("click", () => on.stop());
    byId("skip").addEventListener("click", () => this.#text.focus());
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

  /** What is sent outlives the page until it has arrived. @param {string} text */
  sending(text) {
    sessionStorage.setItem(UNSENT, text);
  }

  arrived() {
    sessionStorage.removeItem(UNSENT);
  }

  /** Gives back, once, what the page before a reload could not send. @param {string} [lastQuestion] that is stored */
  recover(lastQuestion) {
    if (this.#unsent !== lastQuestion) this.restore(this.#unsent ?? "");
    this.#unsent = null;
  }

  /** Gives back what could not be sent, unless something else is being written. */
  restore(text) {
    this.#text.value ||= text;
  }

  /** On a phone that would open the keyboard, which nobody asked for. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#text.focus();
  }
}
