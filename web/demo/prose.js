import * as markdown from "./markdown.js";

/** Markdown that grows. Only its last block can still change, and only that one is rendered again. */
export class Prose {
  element = document.createElement("div");
  #text = "";
  #settled = 0; // so many characters belong to blocks before the last
  /** @type {Record<string, object>} */
  #links = {};
  /** @type {Element | undefined} */
  #last;

  constructor() {
    this.element.className = "prose";
  }

  /** @param {{ text: string }} part  whole each time; usually what was shown and more */
  show({ text }) {
    text = text.replaceAll(/\r\n?/g, "\n");
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) this.#clear();
    this.#text = text;
    const found = markdown.blocks(text.slice(this.#settled), this.#links);
    const last = found.findLastIndex((block) => block.type !== "space");
    this.#last?.remove();
    this.#last = undefined;
    found.forEach((block, index) => {
      if (index < last) this.#settled += block.raw.length;
      if (index < last && block.type === "def") this.#links[block.tag] ??= block;
      if (block.type === "def" || block.type === "space") return;
      const element = markdown.element(block);
      this.element.append(element);
      if (index === last) this.#last = element;
    });
  }

  /** No more text will come. A link's definition may stand below the link: then everything is rendered again. */
  settle() {
    if (!/^ {0,3}\[[^\]]+\]:/m.test(this.#text)) return;
    const text = this.#text;
    this.#clear();
    this.show({ text });
  }

  #clear() {
    this.element.replaceChildren();
    this.#text = "";
    this.#settled = 0;
    this.#links = {};
    this.#last = undefined;
  }
}
