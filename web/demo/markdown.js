/** Markdown as elements. Raw HTML stays text, links go to the web or to mail, and no image is loaded. */

import { icon, withText } from "./elements.js";
import { DOMPurify, Marked } from "./vendor/markdown.js";

const marked = new Marked({
  tokenizer: {
    // undefined: no HTML, so "<" is an ordinary character.
    html: () => undefined,
    tag: () => undefined,
    // false: the default. A single "~" is text, as in the range "3~8 m".
    del: (text) => (text.startsWith("~~") ? false : undefined),
  },
  renderer: {
    image(image) {
      return this.link({ ...image, type: "link", tokens: [{ type: "text", raw: image.text, text: image.text }] });
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const ALLOWED = {
  ALLOWED_TAGS:
    "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ADD_URI_SAFE_ATTR: ["start", "align"], // other attributes with a URI must match ALLOWED_URI_REGEXP
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/**
 * Splits a text into blocks. `raw` is the source of each block.
 * @param {string} text  lines end with LF
 * @param {Record<string, object>} links  definitions of earlier blocks
 */
export function blocks(text, links) {
  const lexer = new marked.Lexer(marked.defaults);
  lexer.tokens.links = { ...links };
  try {
    return lexer.lex(text);
  } catch {
    return [{ type: "plain", raw: text }]; // too deeply nested: the stack has overflowed
  }
}

/** Renders one block as a safe element. If that fails, the element has the source. */
export function element(block) {
  const made = document.createElement("div");
  made.className = "block";
  made.dir = "auto";
  try {
    made.append(DOMPurify.sanitize(marked.parser([block]), ALLOWED));
  } catch {
    made.append(withText("p", block.raw));
  }
  for (const link of made.querySelectorAll("a")) {
    link.rel = "noreferrer noopener";
    link.target = "_blank";
    if (!link.href) link.replaceWith(...link.childNodes);
  }
  for (const code of made.querySelectorAll("code")) code.dir = "ltr";
  for (const code of made.querySelectorAll("pre")) code.replaceWith(figure(code));
  if (block.type === "table") made.tabIndex = 0; // it may scroll sideways
  return made;
}

/** Code with its language above it, and a button that copies it. */
function figure(pre) {
  const made = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const button = document.createElement("button");
  const body = pre.cloneNode(true);
  const [, language] = /language-(\S+)/.exec(pre.firstElementChild?.className ?? "") ?? [];
  button.type = "button";
  button.className = "icon copy-code";
  button.ariaLabel = "Copy code";
  button.append(icon("copy"));
  caption.append(language ?? "", button);
  body.tabIndex = 0; // it may scroll sideways
  body.firstElementChild.textContent = body.textContent.replace(/\n+$/, ""); // a shell runs a pasted line end
  made.dir = "ltr";
  made.append(caption, body);
  return made;
}
