/** The parts of an answer that are not its text: reasoning, tool calls, sources. */

import { template, withText } from "./elements.js";
import { morph, setText } from "./morph.js";

/** The reasoning of the model, collapsed. */
export class Reasoning {
  element = template("reasoning");

  show({ text, open }) {
    setText(this.element.firstElementChild, open ? "Reasoning…" : "Reasoning");
    setText(this.element.lastElementChild, text);
  }
}

const STATES = { running: "is running…", done: "is done", failed: "failed" };

/** A tool call, collapsed: its name and state; inside, input, output and error. */
export class ToolCall {
  element = template("tool");

  show({ name, input, output, error }) {
    const state = error !== undefined ? "failed" : output !== undefined ? "done" : "running";
    this.element.dataset.state = state;
    setText(this.element.querySelector(".name"), name ?? "");
    setText(this.element.querySelector(".state"), STATES[state]);
    const rows = Object.entries({ Input: input, Output: output, Error: error }).filter(
      ([, value]) => value !== undefined,
    );
    const list = document.createElement("dl");
    list.append(...rows.flatMap(([term, value]) => [withText("dt", term), description(value)]));
    morph(this.element.querySelector("dl"), list);
  }
}

/** An entry of the list of sources below the answer. */
export function source({ title, url, document: file, fact, quote }) {
  const entry = document.createElement("li");
  const text = title ?? file ?? url ?? (fact ? "What you asked to remember" : "Source");
  const name = withText(/^https?:\/\//i.test(url ?? "") ? "a" : "span", text);
  if (name.localName === "a") Object.assign(name, { href: url, rel: "noreferrer noopener", target: "_blank" });
  entry.append(name);
  if (quote) entry.append(withText("q", quote));
  for (const each of entry.children) each.dir = "auto"; // not the entry itself: its number stays
  return entry;
}

/** The input or output of a tool, as text or JSON. */
function description(value) {
  const text = typeof value === "string" ? value : value?.message;
  const element = withText("dd", typeof text === "string" ? text : JSON.stringify(value, null, 2));
  element.dir = typeof text === "string" ? "auto" : "ltr";
  return element;
}
