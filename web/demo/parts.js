/** The parts of an answer that are not its text: reasoning, tool calls, sources. */

import { template, withText } from "./elements.js";

/** What the model thought before it spoke, folded away. */
export class Reasoning {
  element = template("reasoning");

  show({ text, open }) {
    this.element.firstElementChild.textContent = open ? "Reasoning…" : "Reasoning";
    this.element.lastElementChild.textContent = text;
  }
}

/** One call of a tool, folded away: its name and how it went, inside what went in and out. */
export class ToolCall {
  element = template("tool");

  show({ name, input, output, error }) {
    const state = error !== undefined ? "failed" : output !== undefined ? "done" : "running";
    this.element.dataset.state = state;
    this.element.querySelector(".name").textContent = name;
    this.element.querySelector(".state").textContent = { running: "is running…", done: "is done", failed: "failed" }[
      state
    ];
    const rows = Object.entries({ Input: input, Output: output, Error: error }).filter(
      ([, value]) => value !== undefined,
    );
    this.element
      .querySelector("dl")
      .replaceChildren(...rows.flatMap(([term, value]) => [withText("dt", term), withText("dd", plain(value))]));
  }
}

/** A source as an entry of the list below the answer. */
export function source({ title, url, document: file, fact, quote }) {
  const entry = document.createElement("li");
  const name = title ?? file ?? url ?? (fact ? "What you asked to remember" : "Source");
  if (/^https?:\/\//i.test(url ?? "")) {
    const link = withText("a", name);
    link.href = url;
    link.rel = "noreferrer noopener";
    link.target = "_blank";
    entry.append(link);
  } else entry.append(name);
  if (quote) entry.append(withText("q", quote));
  return entry;
}

function plain(value) {
  if (typeof value === "string") return value;
  return typeof value?.message === "string" ? value.message : JSON.stringify(value, null, 2);
}
