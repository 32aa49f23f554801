import { copy } from "./clipboard.js";
import { template } from "./elements.js";
import { morph } from "./morph.js";
import { Reasoning, source, ToolCall } from "./parts.js";
import { Prose } from "./prose.js";

const VIEWS = { text: Prose, reasoning: Reasoning, tool: ToolCall };

/** Notes for the finish reasons that need one. */
const ENDINGS = {
  budget: "The budget is used up.",
  "content-filter": "A content filter ended this answer.",
  cancelled: "You stopped this answer.",
  deadline: "The time limit ended this answer.",
  lost: "The rest of this answer was lost.",
  length: "This answer has reached its maximum length.",
};
const CONTINUABLE = new Set(["cancelled", "deadline", "lost", "length"]);

/** The user's message as an element. */
export function question(text) {
  const element = template("question");
  element.querySelector(".text").textContent = text;
  return element;
}

/**
 * An answer on the page.
 * @typedef {{
 *   parts: { type: string }[],       as stored: text, reasoning, tool, citation
 *   speaking?: boolean,              whether the generation is running
 *   finishReason?: string,
 *   error?: { message: string, retryable?: boolean },
 *   status?: "complete" | "partial" | "failed",
 *   model?: string, usage?: object, metrics?: object,
 *   adapted?: string[],              what the model did not get of the request: a field, or `field=value`
 * }} Shown
 */
export class Answer {
  element = template("answer");
  #views = [];
  #sources = 0;

  /** @param {{ retry(): void, regenerate(): void, continue(): void }} actions */
  constructor(actions) {
    this.#on("retry", () => actions.retry());
    this.#on("regenerate", () => actions.regenerate());
    this.#on("continue", () => actions.continue());
    this.#on("copy", (button) => copy(button, this.text));
    this.#part("parts").addEventListener("click", ({ target }) => {
      const button = target.closest(".copy-code");
      if (button) copy(button, button.closest("figure").querySelector("code").textContent);
    });
  }

  /** The text as the model wrote it. */
  text = "";

  /** The text for screen readers when the answer is complete. */
  get spoken() {
    return this.#views
      .filter((view) => view instanceof Prose)
      .map((view) => view.element.textContent)
      .join("\n");
  }

  /** @param {Shown} shown */
  show(shown) {
    const { blocks, sources } = arrange(shown.parts);
    this.text = blocks
      .filter((block) => block.type === "text")
      .map((block) => block.text)
      .join("\n\n");
    this.#showBlocks(blocks, shown.speaking);
    this.#showSources(sources);
    this.element.classList.toggle("speaking", Boolean(shown.speaking));
    this.#part("waiting").hidden = !shown.speaking || blocks.some((block) => block.type === "text");
    this.#showAdapted(shown.adapted);
    this.#part("actions").hidden = Boolean(shown.speaking);
    this.#part("copy").hidden = !this.text;
    if (shown.speaking) this.#part("note").hidden = true;
    else this.#end(shown);
  }

  #showBlocks(blocks, speaking) {
    blocks.forEach((block, index) => {
      let view = this.#views[index];
      if (!(view instanceof VIEWS[block.type])) {
        view = new VIEWS[block.type]();
        for (const old of this.#views.splice(index)) old.element.remove();
        this.#views.push(view);
        this.#part("parts").append(view.element);
      }
      view.show({ ...block, open: speaking && index === blocks.length - 1 });
    });
    for (const gone of this.#views.splice(blocks.length)) gone.element.remove();
  }

  #showSources(sources) {
    if (sources.length === this.#sources) return;
    this.#sources = sources.length;
    this.#part("sources").hidden = sources.length === 0;
    const list = document.createElement("ol");
    list.append(...sources.map(source));
    morph(this.#part("sources").querySelector("ol"), list);
  }

  #showAdapted(changes = []) {
    this.#part("adapted").hidden = changes.length === 0;
    const words = [...new Set(changes)].map((each) => adapted(each));
    this.#part("adapted").textContent = `For this model, ${words.join(", ")}.`;
  }

  #end({ error, status, finishReason, model, usage, metrics }) {
    for (const view of this.#views) view.settle?.();
    const failed = Boolean(error) || status === "failed";
    this.#part("note").hidden = !failed && !(finishReason in ENDINGS);
    this.#part("note").classList.toggle("failed", failed);
    this.#part("note").firstElementChild.textContent = failed
      ? (error?.message ?? "This answer failed.")
      : (ENDINGS[finishReason] ?? "");
    this.#part("retry").hidden = !failed || error?.retryable === false;
    this.#part("continue").hidden = failed || !this.text.trim() || !CONTINUABLE.has(finishReason);
    this.#part("regenerate").hidden = failed;
    this.#part("facts").textContent = facts(model, usage, metrics);
  }

  #part(name) {
    return this.element.querySelector(`.${name}`);
  }

  #on(name, run) {
    this.#part(name).addEventListener("click", (event) => run(event.currentTarget));
  }
}

/**
 * Arranges parts for display. Adjacent text is joined, also around a citation. The events of a tool call are joined.
 * Sources are returned separately. Unknown parts are left out.
 */
export function arrange(parts) {
  const blocks = [];
  const sources = [];
  for (const part of parts) {
    const last = blocks.at(-1);
    const call = part.type === "tool" ? blocks.findIndex((block) => block.type === "tool" && block.id === part.id) : -1;
    if (part.type === "citation") sources.push(part);
    else if (call >= 0) blocks[call] = { ...blocks[call], ...part };
    else if (last && last.type === part.type && "text" in part)
      blocks.splice(-1, 1, { ...last, text: last.text + part.text });
    else if (part.type in VIEWS) blocks.push(part);
  }
  return { blocks, sources };
}

/** A change of the request in words. @param {string} change  a field, or `field=value` */
function adapted(change) {
  const [, field, value] = /^(?:options\.)?([^=]*)(?:=(.*))?$/s.exec(change);
  return value === undefined ? `${field} was left out` : `${field} was set to ${value}`;
}

function facts(model, usage, metrics) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const said = [];
  if (model) said.push(model);
  if (usage) said.push(`${usage.outputTokens} tokens`);
  if (metrics?.durationMs) said.push(seconds(metrics.durationMs));
  if (metrics?.firstTokenMs) said.push(`first after ${seconds(metrics.firstTokenMs)}`);
  return said.join(" · ");
}
