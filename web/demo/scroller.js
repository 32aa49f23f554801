import { byId } from "./elements.js";
import { onFrame } from "./frame.js";

const NEAR = 48; // pixels from the end that still count as being there

/** Keeps the newest text in sight, unless somebody has scrolled up to read. */
export class Scroller {
  #view = byId("scroller");
  #atEnd = true;

  constructor() {
    this.#view.addEventListener("scroll", () => {
      this.#atEnd = this.#view.scrollHeight - this.#view.scrollTop - this.#view.clientHeight < NEAR;
      if (byId("latest").hidden !== this.#atEnd) onFrame(() => (byId("latest").hidden = this.#atEnd));
    });
    byId("latest").addEventListener("click", () => this.toEnd());
  }

  /** After each write of a growing answer. */
  follow() {
    if (this.#atEnd) this.#view.scrollTop = this.#view.scrollHeight;
  }

  toEnd() {
    this.#atEnd = true;
    onFrame(() => this.follow());
  }

  /** Runs a write above what is being read, which stays where it is. */
  keeping(write) {
    const below = this.#view.scrollHeight - this.#view.scrollTop;
    write();
    this.#view.scrollTop = this.#view.scrollHeight - below;
  }
}
