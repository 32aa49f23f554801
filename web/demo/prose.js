import * as markdown from "./markdown.js";
import { morph } from "./morph.js";
import { keepingSelection } from "./selection.js";

/** Renders Markdown while it is received. Only the last block can change, so only the last block is rendered again. */
export class Prose {
  element = document.createElement("div");
  #text = "";
  #settled = 0; // characters before the last block
  #kept = 0; // elements before the last block
  /** @type {Record<string, object>} */
  #links = {};

  constructor() {
    this.element.className = "prose";
  }

  /** @param {{ text: string }} part  the whole text; usually the old text with more at the end */
  show({ text }) {
    text = text.replaceAll(/\r\n?/g, "\n");
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) this.#restart();
    this.#text = text;
    keepingSelection(this.element, () => this.#render());
  }

  /** The text is complete. If it defines links, all blocks are rendered again: a definition may follow its link. */
  settle() {
    if (!/^ {0,3}\[[^\]]+\]:/m.test(this.#text)) return;
    this.#restart();
    keepingSelection(this.element, () => this.#render());
  }

  #restart() {
    this.#settled = 0;
    this.#kept = 0;
    this.#links = {};
  }

  #render() {
    const found = markdown.blocks(this.#text.slice(this.#settled), this.#links);
    const last = found.findLastIndex((block) => block.type !== "space");
    let place = this.#kept;
    found.forEach((block, index) => {
      if (index < last) this.#settled += block.raw.length;
      if (index < last && block.type === "def") this.#links[block.tag] ??= block;
      if (block.type !== "def" && block.type !== "space") this.#put(place++, markdown.element(block));
      if (index < last) this.#kept = place;
    });
    while (this.element.children.length > place) this.element.lastElementChild.remove();
  }

  #put(place, element) {
    const old = this.element.children[place];
    if (old) morph(old, element);
    else this.element.append(element);
  }
}
