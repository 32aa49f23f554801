/** The page's own elements, and copies of its templates. */

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/** @param {string} id  of a template with one element in it */
export const template = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** @param {string} tag @param {string} text */
export function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** One of the page's icons. @param {string} name  the symbol's id */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}
